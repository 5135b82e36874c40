"""Lean files as they lie on disk: reading them, putting proofs in place of ``sorry``s, writing them back.

Lean counts positions in UTF-8 bytes of the text as *it* reads it: without a byte order mark, and with
``\\n`` for ``\\r\\n``. Everything that takes or gives such an offset says "as Lean counts"; what is not a
proof put in comes out byte for byte as it went in.
"""

from __future__ import annotations

import os
import re
import secrets
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prover.errors import InputError
from prover.lean.messages import Source
from prover.lean.toolchain import find_project
from prover.proof_layout import fit

_BOM = "\ufeff"
_PLACEHOLDERS = ("sorry", "admit")
_LIBRARY = frozenset({"Init", "Std", "Lean", "Lake"})


@dataclass(frozen=True, slots=True)
class Replacement:
    """A proof for one ``sorry``; the offsets, as Lean counts, enclose just that word."""

    start_byte: int
    end_byte: int
    #: The tactics, one a line, indented relative to the first.
    lines: tuple[str, ...]
    #: The ``sorry`` is a tactic (else it is a term).
    tactic: bool


#: Where a declaration that can hold a ``sorry`` begins, attributes and modifiers aside.
_DECLARATION = re.compile(
    r"^[ \t]*(?:@\[[^\]]*\]\s*)?(?:\w+[ \t]+)*?(?=(?:theorem|lemma|example|def|instance|abbrev)\b)", re.M
)


@dataclass(frozen=True, slots=True)
class TheoremFile:
    """A Lean file's text, with its line ends and its byte order mark if it has one."""

    path: Path
    raw: str

    @property
    def text(self) -> str:
        """The text as Lean reads it."""
        return _as_lean_reads(self.raw)

    def statement_before(self, byte: int) -> str:
        """The declaration whose proof is to stand at this place, up to there; "" where it has no keyword."""
        before = self.text.encode()[:byte].decode(errors="ignore")
        starts = list(_DECLARATION.finditer(before))
        return before[starts[-1].start() :].strip() if starts else ""

    def source(self) -> Source:
        """The file as a message to Lean."""
        return Source(module_name(self.path), str(self.path), self.text)

    def with_proofs(self, replacements: Iterable[Replacement]) -> TheoremFile:
        """Put proofs in place.

        Raises:
            ValueError: see :func:`splice`.
        """
        return TheoremFile(self.path, splice(self.raw, replacements))


def read_theorem_file(path: Path) -> TheoremFile:
    """Read a Lean file.

    Raises:
        InputError: it is missing, is a folder, cannot be read, or is not UTF-8.
    """
    try:
        return TheoremFile(path, path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: name the Lean files in it") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (at byte {error.start}): Lean files must be; save it as UTF-8"
        ) from error


def splice(raw: str, replacements: Iterable[Replacement]) -> str:
    """Return a file's text with proofs in place of ``sorry``s, given in any order.

    Where a proof goes to lines of its own, the blanks before the ``sorry`` go; nothing else is touched.

    Raises:
        ValueError: a span is not a ``sorry`` or ``admit``, two of them overlap, or a proof has no lines.
    """
    ordered = sorted(replacements, key=lambda replacement: replacement.start_byte)
    offset = _OffsetMap(raw)
    newline = "\r\n" if "\r\n" in raw else "\n"
    done, at = "", 0
    for replacement in ordered:
        start, end = offset(replacement.start_byte), offset(replacement.end_byte)
        if start < at or raw[start:end] not in _PLACEHOLDERS:
            raise ValueError(f"bytes {replacement.start_byte} to {replacement.end_byte} are no sorry")
        done += raw[at:start]
        proof = fit(done, raw[end:], replacement.lines, tactic=replacement.tactic)
        if proof.startswith("\n"):
            done = done.rstrip(" ")
        done += proof.replace("\n", newline)
        at = end
    return done + raw[at:]


class _OffsetMap:
    """From offsets as Lean counts to indices into the text as it lies on disk."""

    def __init__(self, raw: str) -> None:
        self._bom = int(raw.startswith(_BOM))
        self._bytes = _as_lean_reads(raw).encode()
        returns = [match.start() for match in re.finditer("\r\n", raw)]
        #: Where Lean sees the line breaks that take two characters on disk.
        self._breaks = [index - self._bom - nth for nth, index in enumerate(returns)]

    def __call__(self, byte: int) -> int:
        try:
            index = len(self._bytes[:byte].decode())
        except UnicodeDecodeError:
            raise ValueError(f"byte {byte} is inside a character") from None
        return index + self._bom + bisect_left(self._breaks, index)


def _as_lean_reads(raw: str) -> str:
    return raw.removeprefix(_BOM).replace("\r\n", "\n")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that at any moment it is the old one or the new one, whole.

    A symbolic link stays one: what it points to is written. An existing file keeps its mode.

    Raises:
        InputError: the folder or the file cannot be written.
    """
    target = path.resolve()
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        try:
            _write_new(temporary, data, like=target)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def _write_new(path: Path, data: bytes, like: Path) -> None:
    # "xb" makes the file with the mode the user's umask asks for, which a temporary file's would not be.
    with path.open("xb") as file:
        if like.exists():
            os.chmod(path, like.stat().st_mode & 0o7777)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


# --- imports ----------------------------------------------------------------------------------------

_BLANK = re.compile(r"\s+|--[^\n]*")
_COMMENT_EDGE = re.compile(r"/-|-/")
_PART = r"(?:«[^»\n]*»|[^\W\d][\w'!?₀-₉]*)"
_HEADER_WORD = re.compile(rf"(?:module|prelude|public|meta|import|all)(?![\w'!?.])|{_PART}(?:\.{_PART})*")
_HEADER_KEYWORDS = frozenset({"module", "prelude", "public", "meta"})


def imports_of(text: str) -> tuple[str, ...]:
    """Return the modules that a source imports, in order, as they are written.

    Only the header counts: it ends with the first command, and a module comment ``/-! … -/`` is one.
    """
    found: list[str] = []
    position = 0
    while word := _HEADER_WORD.match(text, position := _skip_blanks(text, position)):
        position = word.end()
        if word[0] == "import":
            position, module = _imported(text, position)
            found.append(module)
        elif word[0] not in _HEADER_KEYWORDS:
            break
    return tuple(name for name in found if name)


def _imported(text: str, position: int) -> tuple[int, str]:
    """Read the name after ``import``; "" when there is none, which Lean will complain about."""
    word = _HEADER_WORD.match(text, position := _skip_blanks(text, position))
    if word and word[0] == "all":
        word = _HEADER_WORD.match(text, position := _skip_blanks(text, word.end()))
    return (word.end(), word[0]) if word else (position, "")


def _skip_blanks(text: str, position: int) -> int:
    while True:
        if blank := _BLANK.match(text, position):
            position = blank.end()
        elif text.startswith("/-", position) and text[position + 2 : position + 3] not in ("-", "!"):
            position = _end_of_comment(text, position)
        else:
            return position


def _end_of_comment(text: str, position: int) -> int:
    """Block comments nest; one that is never closed reaches to the end."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge[0] == "/-" else -1
        if depth == 0:
            return edge.end()
    return len(text)


def module_name(path: Path) -> str:
    """Return the name under which the other files of its project import this one."""
    inside = path.resolve().relative_to(_root(path)).with_suffix("")
    return ".".join(part if re.fullmatch(_PART, part) else f"«{part}»" for part in inside.parts)


def project_sources(path: Path) -> tuple[Source, ...]:
    """Return the project's own modules that a file imports, each after those it needs itself.

    A module ``A.B`` is ``A/B.lean`` under the Lake root, or beside the file where there is none. Those
    not found there are left to Lean, which knows more places, or says that they are missing.

    Raises:
        InputError: modules import each other in a circle, a name is no file's name, or one cannot be read.
    """
    root = _root(path)
    sources: dict[str, Source] = {}

    def visit(text: str, trail: tuple[str, ...]) -> None:
        for module in imports_of(text):
            if module in trail:
                circle = " → ".join((*trail[trail.index(module) :], module))
                raise InputError(f"{path}: modules import each other in a circle: {circle}")
            file = _module_file(root, module)
            if module in sources or file is None:
                continue
            own = read_theorem_file(file)
            visit(own.text, (*trail, module))
            sources[module] = Source(module, str(file), own.text)

    visit(read_theorem_file(path).text, (module_name(path),))
    return tuple(sources.values())


def _root(path: Path) -> Path:
    return find_project(path.resolve()) or path.resolve().parent


def _module_file(root: Path, module: str) -> Path | None:
    parts = [part.strip("«»") for part in re.findall(_PART, module)]
    if any(part in ("", ".", "..") or set(part) & {"/", "\\", "\0"} for part in parts):
        raise InputError(f"{module} cannot be the name of a file: rename the module")
    if parts[0] in _LIBRARY:
        return None
    file = root.joinpath(*parts[:-1], f"{parts[-1]}.lean")
    return file if file.is_file() else None
