"""Makes one Lean file of the tactic server.

The embedded Lean cannot run code of imported modules, and a toolchain would have to build them first; a
single file runs under both. Each file of the server starts with its imports, and has no ``module`` header.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

from prover.errors import LeanUnavailable
from prover.settings import settings

_ROOT_MODULE = "TacticServer.Main"
_PREFIX = "TacticServer."
_IMPORT = re.compile(r"^import\s+(?P<module>\S+)\s*$")


def server_folder() -> Path:
    """Return the folder of the server's sources: inside an installed package, else in the source tree.

    Raises:
        LeanUnavailable: they are in neither.
    """
    package = Path(__file__).parent
    for folder in (package / "server", package.parents[1] / "lean_project" / "TacticServer"):
        if (folder / "Main.lean").is_file():
            return folder
    raise LeanUnavailable("The tactic server's Lean files are missing: install the package again.")


def bundle_server(folder: Path | None = None) -> str:
    """Return the server as one source: all foreign imports first, then each module once, in import order."""
    imports: dict[str, None] = {}
    bodies: dict[str, str] = {}
    _collect(_ROOT_MODULE, folder or server_folder(), imports, bodies)
    return "\n".join([*imports, "", *bodies.values()])


def written_bundle() -> Path:
    """Write the server into the cache, in a folder named by its content, and return the file.

    Raises:
        LeanUnavailable: the sources are missing or the cache cannot be written.
    """
    text = bundle_server()
    folder = settings().cache / "server" / hashlib.sha256(text.encode()).hexdigest()[:16]
    file = folder / "TacticServer.lean"
    try:
        if not file.exists():
            _write_whole(file, text)
    except OSError as error:
        raise LeanUnavailable(
            f"The cache cannot be written: {error}. Name another folder in LEAN_PROVER_CACHE."
        ) from error
    return file


def _write_whole(file: Path, text: str) -> None:
    """Write a file that others see whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{secrets.token_hex(4)}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, file)


def _collect(module: str, folder: Path, imports: dict[str, None], bodies: dict[str, str]) -> None:
    """Add a module after those it imports."""
    header, body = _split((folder / f"{module.removeprefix(_PREFIX)}.lean").read_text(encoding="utf-8"))
    for imported in header:
        if not imported.startswith(_PREFIX):
            imports.setdefault(f"import {imported}")
        elif imported not in bodies:
            _collect(imported, folder, imports, bodies)
    # A section, so that what one file opens is not open in the next.
    bodies[module] = f"-- {module}\nsection\n{body}\nend\n"


def _split(source: str) -> tuple[list[str], str]:
    """Split a source into the modules it imports and the rest."""
    lines = source.splitlines()
    imported = []
    for number, line in enumerate(lines):
        match = _IMPORT.match(line)
        if match is not None:
            imported.append(match["module"])
        elif line.strip():
            return imported, "\n".join(lines[number:])
    return imported, ""
