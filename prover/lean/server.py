"""The tactic server as the embedded Lean runs it: compiled once, then loaded in a second.

The embedded Lean can only run code of the file it is given, and compiling the server's file takes it most of
a minute. So the first use compiles it into the cache, and every start loads the result (``Boot.lean``).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from prover.errors import LeanUnavailable
from prover.lean.bundle import bundle_server, server_folder
from prover.settings import settings

#: Where the embedded Lean sees the server's folder, and where it writes in its own memory.
SERVER_MOUNT = "/tactic-server"
_OUTPUT = "/compiled"
_SOURCE, _CODE, _BOOT = "TacticServer.lean", "TacticServer.ir", "Boot.lean"
_COMPILE_SECONDS = 900.0

#: Takes (text, done, total), as the installer's does.
Progress = Callable[[str, int, int], None]


def ensure_server(
    lean_argv: Callable[[Sequence[str], Path, Path], list[str]],
    version: str,
    progress: Progress | None = None,
) -> Path:
    """Return the folder that holds the compiled server and the file that starts it.

    Args:
        lean_argv: makes the command line of ``lean ARGUMENTS`` from the arguments, the folder it may read at
            :data:`SERVER_MOUNT`, and the folder that receives what it wrote below ``/compiled``.
        version: what the code depends on beside the source: code of one Lean cannot run under another.

    Raises:
        LeanUnavailable: it does not compile, or the cache cannot be written.
    """
    boot = _boot_source()
    source = bundle_server()
    key = hashlib.sha256("\0".join([version, source, boot]).encode()).hexdigest()[:16]
    folder = settings().cache / "server" / key
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                _compile(folder, source, boot, lean_argv, progress)
    except OSError as error:
        raise LeanUnavailable(
            f"The cache cannot be written: {error}. Name another folder in LEAN_PROVER_CACHE."
        ) from error
    return folder


def _compile(
    folder: Path,
    source: str,
    boot: str,
    lean_argv: Callable[[Sequence[str], Path, Path], list[str]],
    progress: Progress | None,
) -> None:
    """Compile beside the folder and move the result into place whole."""
    if progress is not None:
        progress("Compiling the tactic server (once)", 0, 0)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".compiling-") as scratch:
        made, output = Path(scratch) / "made", Path(scratch) / "output"
        made.mkdir()
        output.mkdir()
        (made / _SOURCE).write_text(source, encoding="utf-8")
        (made / _BOOT).write_text(boot, encoding="utf-8")
        module = f"{_OUTPUT}/{Path(_SOURCE).stem}"
        arguments = ["-R", SERVER_MOUNT, "-o", f"{module}.olean", f"{SERVER_MOUNT}/{_SOURCE}"]
        done = subprocess.run(
            lean_argv(arguments, made, output),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMPILE_SECONDS,
        )
        code = output / _CODE
        if not code.is_file():
            said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            raise LeanUnavailable(f"The tactic server does not compile (exit {done.returncode}):\n{said}")
        shutil.move(code, made / _CODE)
        made.rename(folder)


def _boot_source() -> str:
    folder = server_folder()
    for place in (folder / _BOOT, folder.parent / _BOOT):
        if place.is_file():
            return place.read_text(encoding="utf-8")
    raise LeanUnavailable("The tactic server's Lean files are missing: install the package again.")
