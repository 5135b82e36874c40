"""Runs a command that must not outlive us: ``python guard.py COMMAND ARGUMENT...``.

The command inherits stdin, stdout and stderr. When our own parent is gone (``kill -9`` included), the whole
process group is killed. This stands before a native Lean; the embedded one watches its parent itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def main(argv: list[str]) -> int:
    """Return the command's exit code; a signal N that ended it becomes 128 + N."""
    parent = os.getppid()
    try:
        child = subprocess.Popen(argv)
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr)
        return 127
    while True:
        try:
            code = child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            if os.getppid() != parent:
                os.killpg(0, signal.SIGKILL)
        else:
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
