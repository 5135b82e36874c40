"""From the text of a whole proof to the tactics that a search runs one by one, each on the main goal.

A tactic starts on a line that is indented no deeper than the first one; deeper lines belong to it. Since the
main goal is always the next one, what a bullet holds is run like the rest: bullets are taken apart. A
``case`` stays one tactic, as it picks its goal and names what is new in it. The reading is shallow and never
fails; a tactic that was cut wrongly fails in Lean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from prover.decoder.prompts import Mark
from prover.generators.base import COMMANDS


def tactics_of(text: str) -> tuple[str, ...]:
    """Split a proof, with or without its theorem, comments and code fences, into its tactics.

    >>> tactics_of("theorem two : 1 + 1 = 2 ∧ p := by\\n  constructor\\n  · rfl\\n  · intro h; exact h")
    ('constructor', 'rfl', 'intro h', 'exact h')
    """
    proof = _proof(_without_comments(code_of(text).expandtabs()))
    lines = [line.rstrip() for line in proof.splitlines()]
    return tuple(_tactics([line for line in lines if line]))


def own_tactics_of(text: str, separator: str = Mark.TACTIC.value) -> tuple[str, ...]:
    """Split a whole proof of our own model, decoded with the separator written out as this text.

    >>> own_tactics_of("intro h <TACTIC>exact h")
    ('intro h', 'exact h')
    """
    return tuple(tactic for part in text.split(separator) if (tactic := part.strip()))


def code_of(text: str) -> str:
    """The last code block of an answer; the whole answer where it has none.

    A block may have been opened before the text: then a bare fence ends it. The last one may be open.

    >>> code_of("We simplify:\\n```lean\\nsimp\\n```\\nand are done.")
    '\\nsimp\\n'
    """
    before, *rest = _FENCE.split(text)
    languages, parts = rest[::2], rest[1::2]
    if languages and not languages[0] and len(languages) % 2 and before.strip():
        return before
    return next((part for part in reversed(parts[::2]) if part.strip()), before)


_FENCE = re.compile(r"```(lean\d?\b|tactics?\b|[\w+-]+(?=[ \t]*\n))?")


# --- comments and the theorem in front -------------------------------------------------------------

_CODE = re.compile(r'(?P<string>"(?:\\.|[^"\\])*")|(?P<line>--[^\n]*)|/-')
_COMMENT = re.compile(r"/-|-/")


def _without_comments(text: str) -> str:
    return "".join(_code(text))


def _code(text: str) -> Iterator[str]:
    position = depth = 0
    while match := (_COMMENT if depth else _CODE).search(text, position):
        if not depth:
            yield text[position : match.start()]
        if match.lastgroup == "string":
            yield match.group()
        elif match.lastgroup is None:
            depth += 1 if match.group() == "/-" else -1
        position = match.end()
    if not depth:
        yield text[position:]


_HEADER = re.compile(
    r"^\s*(?:@\[[^\]]*\]\s*)?(?:(?:private|protected|nonrec|noncomputable)\s+)*(?:theorem|lemma|example)\b",
    re.MULTILINE,
)
_BY = re.compile(r"\s*(?::=\s*)?by(?![\w.'!?])")
#: A definition inside a statement, up to its ``:=``.
_LET = re.compile(r"\b(?:let|have)\b[^;\n]*\Z")
_OPEN, _CLOSE = "([{⟨‹", ")]}⟩›"
_BRACKET = re.compile(rf"(?P<open>[{re.escape(_OPEN)}])|(?P<close>[{re.escape(_CLOSE)}])|:=")


def _proof(text: str) -> str:
    """The proof of the last theorem, or all of the text, without ``:= by``; columns stay as they are."""
    headers = list(_HEADER.finditer(text))
    start = _definition(text, headers[-1].end()) if headers else 0
    if by := _BY.match(text, start):
        return _blank(text, by.end())
    term = text[start:].removeprefix(":=").strip()
    return f"exact {term}" if headers and term else _blank(text, start)


def _definition(text: str, position: int) -> int:
    """Where the ``:=`` in front of a declaration's proof stands; the end of the text if nowhere."""
    depth = 0
    for match in _BRACKET.finditer(text, position):
        is_outside = match.lastgroup is None and depth == 0
        if is_outside and not _LET.search(text, position, match.start()):
            return match.start()
        depth += (match.lastgroup == "open") - (match.lastgroup == "close")
    return len(text)


def _blank(text: str, end: int) -> str:
    """The text from there, with blanks for what stands before it on its line."""
    return " " * (end - text.rfind("\n", 0, end) - 1) + text[end:]


# --- tactics --------------------------------------------------------------------------------------

_BULLET = re.compile(r"[·.](?:\s+|$)")
#: No tactic starts like this, wherever it stands.
_CONTINUES = re.compile(r"[|)\]}⟩›,]|<;>|<\||_\s|:=|=>|(?:with|at|using|then|else|from|generalizing|by)\b")
_UNFINISHED = re.compile(r"(?:<;>|,|:=|<\||\|>)\Z")


def _tactics(lines: Sequence[str]) -> Iterator[str]:
    for block in _blocks(lines):
        bullet = _BULLET.match(block[0])
        if bullet:
            inner = [" " * bullet.end() + block[0][bullet.end() :], *block[1:]]
            yield from _tactics([line for line in inner if line.strip()])
        else:
            yield from _sequence("\n".join(block))


def _blocks(lines: Sequence[str]) -> Iterator[list[str]]:
    """The lines of each tactic, its first one moved to the margin and the others along with it."""
    block: list[str] = []
    base = depth = 0
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if block and (indent > base or depth > 0 or _goes_on(block[-1], line.lstrip())):
            block.append(_moved(line.lstrip(), indent - base))
        elif _is_command(line):
            break
        else:
            if block:
                yield block
            # What stood after ``by`` on its line may be indented deeper than what follows.
            block, base, depth = [line.lstrip()], indent, 0
        depth += sum((char in _OPEN) - (char in _CLOSE) for char in line)
    if block:
        yield block


def _goes_on(previous: str, line: str) -> bool:
    return bool(_CONTINUES.match(line) or _UNFINISHED.search(previous))


def _moved(line: str, indent: int) -> str:
    """Indent a line that belongs to a tactic; at the margin, a word would look like a new command."""
    at_margin = indent <= 0 and line[0] not in "|_"
    return " " * (2 if at_margin else max(0, indent)) + line


def _is_command(line: str) -> bool:
    return line.split()[0] in COMMANDS or line.startswith(("#", "@["))


#: After these words a semicolon may belong to a block inside the tactic.
_BLOCK_WORD = (
    r"(?:by|do|try|repeat'?|first|calc|case'?|next|focus|all_goals|any_goals|iterate|on_goal)(?![\w.'!?])"
)
_MARK = re.compile(
    rf"""(?P<string>"(?:\\.|[^"\\])*")|(?P<open>[{re.escape(_OPEN)}])|(?P<close>[{re.escape(_CLOSE)}])"""
    rf"""|<;>|(?P<semicolon>;)|(?P<block>(?<![\w.'])(?:{_BLOCK_WORD})|=>|\|)"""
)


def _sequence(text: str) -> Iterator[str]:
    """The tactics of ``a; b``; one that may hold a block stays as it is, since the block takes the rest."""
    start = depth = 0
    for match in _MARK.finditer(text):
        depth += (match.lastgroup == "open") - (match.lastgroup == "close")
        if match.lastgroup == "block" and depth == 0:
            break
        if match.lastgroup == "semicolon" and depth == 0:
            yield from _stripped(text[start : match.start()])
            start = match.end()
    yield from _stripped(text[start:])


def _stripped(text: str) -> Iterator[str]:
    if text := text.strip():
        yield text
