"""How a proof is laid out where a ``sorry`` stood, so that Lean's column-sensitive parser reads it.

Two layouts are used. *In place*: the first tactic stands where the ``sorry`` stood, and the other lines start
in its column; this is right wherever a block of tactics may stand, and in parentheses everywhere else.
*Broken*: after a ``by`` or ``=>`` that ends a line, the tactics go to lines of their own, as a person would
write them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Before these a block of tactics ends by itself.
_CLOSERS = (")", "⟩", "]", "}")
#: After these a term may be a bare ``by``; elsewhere it would be an argument, which needs parentheses.
_TERM_OPENERS = (":=", "=>", "<|", "(", "⟨", "from")
#: Tactics that cannot take a comma after them for one of their own.
_COMMA_SAFE = frozenset(
    {"assumption", "constructor", "contradiction", "decide", "exact", "grind"}
    | {"omega", "rfl", "rw", "simp", "simp_all", "trivial"}
)
#: Tactics that can take a following ``|`` for one of their own alternatives.
_ALTERNATIVES = re.compile(r"\b(?:first|rcases|rintro|obtain|intro|match|fun|with)\b")
_BULLETS = re.compile(r"(?: *(?:·|\.(?= )))* *")
_WORD = re.compile(r"(?:=>|(?:by|with|where|do)(?![\w'.]))\s*")
_PAIRS = {"(": ")", "[": "]", "{": "}", "⟨": "⟩"}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the ``sorry`` stands."""

    #: Its line, up to it.
    line: str
    #: The text before it, without blanks and a comment that end it.
    before: str
    #: What follows, from the next character that is neither blank nor in a comment.
    after: str
    #: The column of ``after``; None when that is on the same line, -1 at the end of the file.
    after_column: int | None

    @property
    def column(self) -> int:
        return len(self.line)

    @property
    def last_on_line(self) -> bool:
        return self.after_column is not None


def fit(before: str, after: str, lines: tuple[str, ...], *, tactic: bool) -> str:
    """Return what goes between two texts in place of a ``sorry``: the proof, with ``\\n`` as line break.

    It starts with a line break where the proof goes to lines of its own; blanks before it are then idle.

    Raises:
        ValueError: the proof has no lines.
    """
    if not lines or not all(line.strip() for line in lines):
        raise ValueError("a proof has at least one line, and none of them is blank")
    place = _place(before, after)
    return _fit_tactic(place, lines) if tactic else _fit_term(place, lines)


def _fit_tactic(place: _Place, lines: tuple[str, ...]) -> str:
    if _needs_parentheses(place, lines):
        return _in_place("(", lines, ")", place.column)
    if len(lines) > 1 and _opens_block(place.line.rstrip()):
        indent = _block_indent(place)
        if _is_free(place, indent):
            return "".join("\n" + " " * indent + line for line in lines)
    return _in_place("", lines, "", place.column)


def _fit_term(place: _Place, lines: tuple[str, ...]) -> str:
    if not place.before.endswith(_TERM_OPENERS) or not _ends_term(place):
        return _in_place("(by ", lines, ")", place.column)
    indent = _block_indent(place)
    if len(lines) > 1 and place.last_on_line and _is_free(place, indent):
        return "by" + "".join("\n" + " " * indent + line for line in lines)
    return _in_place("by ", lines, "", place.column)


def _in_place(opening: str, lines: tuple[str, ...], closing: str, column: int) -> str:
    indent = "\n" + " " * (column + len(opening))
    return opening + indent.join(lines) + closing


def _needs_parentheses(place: _Place, lines: tuple[str, ...]) -> bool:
    """Would the neighbours take part of the proof to themselves, or the proof some of them?"""
    if place.before.endswith("<;>"):
        return len(lines) > 1 or ";" in lines[0]
    if place.before.endswith(";") and len(lines) > 1:
        return True
    if place.after.startswith((";", "<;>")):
        return len(lines) > 1 or ";" in lines[0] or place.after.startswith("<;>")
    if place.after.startswith("|"):
        return not place.last_on_line or bool(_ALTERNATIVES.search(lines[-1]))
    if place.last_on_line:
        return (place.after_column or 0) > place.column
    if place.after.startswith(","):
        return len(lines) > 1 or lines[0].split()[0] not in _COMMA_SAFE
    return not place.after.startswith(_CLOSERS)


def _ends_term(place: _Place) -> bool:
    """Does the term surely end with the ``sorry``?"""
    if not place.last_on_line:
        return place.after.startswith(_CLOSERS)
    return (place.after_column or 0) <= _block_start(place.line) and not place.after.startswith(("|", "<"))


def _opens_block(line: str) -> bool:
    return bool(re.search(r"(?:=>|(?<![\w'.])by)\Z", line))


def _is_free(place: _Place, indent: int) -> bool:
    """Can lines of this indentation follow without taking in what follows them?"""
    return place.last_on_line and (place.after_column or 0) < indent


def _block_indent(place: _Place) -> int:
    """The usual indentation of the tactics under this line, which is deeper than any block it stands in."""
    if place.before.endswith(":= by") and _is_long_header(place.before):
        return 2
    return _block_start(place.line) + 2


def _is_long_header(before: str) -> bool:
    """Is this nothing but one declaration's header, from its first column on?"""
    header = re.split(r"\n(?=\S)", before)[-1].removesuffix(":= by")
    inner = re.search(r":=|=>|(?<![\w'.])(?:by|where|with|do)(?![\w'.])", header)
    return not header[:1].isspace() and inner is None


def _block_start(line: str) -> int:
    """The column where the innermost thing open at the end of a line starts, bullets left out."""
    position = _match_end(_BULLETS, line, 0)
    if position == 0 and not line[:1].isspace() and line.rstrip().endswith(":= by"):
        return 0
    starts, closers = [position], [""]
    while position < len(line):
        character = line[position]
        if character in _PAIRS:
            position += 1
            starts.append(position)
            closers.append(_PAIRS[character])
        elif character == closers[-1]:
            starts.pop()
            closers.pop()
            position += 1
        elif (word := _WORD.match(line, position)) and not re.match(r"[\w'.]", line[position - 1 : position]):
            position = word.end()
            starts[-1] = position if position < len(line) else starts[-1]
        else:
            position += 1
    return starts[-1]


def _match_end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _place(before: str, after: str) -> _Place:
    line = before[before.rfind("\n") + 1 :]
    rest, column = _next_token(after)
    return _Place(line, _without_trailing_comment(before), rest, column)


def _without_trailing_comment(before: str) -> str:
    """Drop blanks and line comments at the end; the line of the ``sorry`` itself can hold none before it."""
    before = before.rstrip()
    while (comment := before.rfind("--", before.rfind("\n") + 1)) >= 0 and not before.endswith("-/"):
        before = before[:comment].rstrip()
    return before


def _next_token(after: str) -> tuple[str, int | None]:
    match = re.match(r"(?:\s+|--[^\n]*|/-(?![-!]).*?-/)*", after, re.DOTALL)
    skipped, rest = after[: match.end()] if match else "", after[match.end() if match else 0 :]
    if not rest:
        return "", -1
    return rest, len(skipped) - skipped.rfind("\n") - 1 if "\n" in skipped else None
