"""Runs a command that must not outlive us: ``python guard.py [--limits JSON] COMMAND ARGUMENT...``.

The command inherits stdin, stdout and stderr. When our own parent is gone (``kill -9`` included), the whole
process group is killed. This stands before a native Lean; the embedded one watches its parent itself.

JSON is an object with some of ``threads`` (of all processes together), and of each process ``file_size`` and
``address_space`` (bytes), ``open_files`` and ``cpu_seconds``. A limit that the system does not know is left
out: there are others behind it. The file needs nothing but Python's own library.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_GROUP = "lean-prover-"
_RESOURCES = {
    "file_size": resource.RLIMIT_FSIZE,
    "address_space": resource.RLIMIT_AS,
    "open_files": resource.RLIMIT_NOFILE,
    "cpu_seconds": resource.RLIMIT_CPU,
}


def main(argv: list[str]) -> int:
    """Return the command's exit code; a signal N that ended it becomes 128 + N."""
    parent = os.getppid()
    limits: dict[str, int] = {}
    if argv[:1] == ["--limits"]:
        limits, argv = json.loads(argv[1]), argv[2:]
    enter = _limit(limits) if limits else None
    try:
        child = subprocess.Popen(argv, preexec_fn=enter)
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr)
        return 127
    except subprocess.SubprocessError as error:
        print(f"{argv[0]}: cannot be limited: {error}", file=sys.stderr)
        return 126
    code = _wait(child, parent)
    remove_group(os.getpid())
    return code if code >= 0 else 128 - code


def _wait(child: subprocess.Popen[bytes], parent: int) -> int:
    while True:
        try:
            return child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            if os.getppid() != parent:
                os.killpg(0, signal.SIGKILL)


# --- limits -----------------------------------------------------------------------------------------


def _limit(limits: dict[str, int]) -> Callable[[], None] | None:
    """Limit this process and what it starts; returns what a child has to do before it runs, if anything."""
    _set(resource.RLIMIT_CORE, 0)
    for name, limited in _RESOURCES.items():
        if name in limits:
            _set(limited, limits[name])
    if "threads" not in limits:
        return None
    group = _make_group(limits["threads"])
    if group is not None:
        return lambda: _join(group)
    # Root is never held to this one. For everybody else it counts all that the user runs, so what is
    # there already comes on top; where that cannot be counted (no /proc), any number would be a guess.
    if running := _threads_of_user():
        _set(resource.RLIMIT_NPROC, running + limits["threads"])
    return None


def _set(limited: int, value: int) -> None:
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(limited)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limited, (allowed, allowed))


def _threads_of_user() -> int:
    found = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError, KeyError, ValueError):  # it may have ended meanwhile
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            if int(fields["Uid"].split()[0]) == os.getuid():
                found += int(fields["Threads"])
    return found


# --- control groups ---------------------------------------------------------------------------------


def _make_group(threads: int) -> Path | None:
    """Make a control group that holds at most so many threads; None where that is not for us to do."""
    for base in _bases():
        _sweep(base)
        group = base / f"{_GROUP}{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            try:
                (group / "pids.max").write_text(str(threads))
                return group
            except OSError:  # a group in which nobody counts processes
                group.rmdir()
    return None


def remove_group(guard: int) -> bool:
    """Remove the control group that a guard made; returns whether it has none any more."""
    groups = [base / f"{_GROUP}{guard}" for base in _bases()]
    for group in groups:
        with suppress(OSError):
            group.rmdir()
    return not any(group.exists() for group in groups)


def _bases() -> list[Path]:
    """Where groups can be made: in our own, and beside it (version 2 wants no processes above others)."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for root, controllers in (("/sys/fs/cgroup/pids", "pids"), ("/sys/fs/cgroup", "")):
        for line in lines:
            _, names, path = line.split(":", 2)
            own = Path(root) / path.lstrip("/")
            if controllers == names and ".." not in path and own.is_dir():
                return [own] if own == Path(root) else [own, own.parent]
    return []


def _sweep(base: Path) -> None:
    """Remove the groups of guards that were killed."""
    for group in base.glob(f"{_GROUP}*"):
        if not Path("/proc", group.name.removeprefix(_GROUP)).exists():
            with suppress(OSError):
                group.rmdir()


def _join(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
