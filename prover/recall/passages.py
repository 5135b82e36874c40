"""What is read into a memory, in the words in which a search will ask for it.

A declaration is read as the goal that it proves, and its name as the tactic that closes it; a tactic that was
tried is read at the goal it was tried on, with its verdict behind it:

    <GOAL> ⊢ type </GOAL>  <TACTIC> exact name <END>
    <GOAL> g </GOAL>       <TACTIC> t <END> <PROOF>, or another <TACTIC> where it failed

Who asks for a name at a goal asks behind the same tokens that it was read behind, ``exact`` and its space.

The goal is a context that is read and not kept: its tokens' keys would be most of a memory, and what is
looked for is what to say next at such a goal, which the keys of the tactic's tokens stand for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile

from memory.building import Document, Reading
from memory.catalogue import Passage
from prover.decoder.codec import Codec
from prover.decoder.prompts import Mark, Piece, answer, verdict
from prover.lean.messages import Declaration

#: Tokens of a goal that are read before what is kept, the last ones: a target stands at the end.
CONTEXT_TOKENS = 160
#: What stands before the name of a declaration.
_NAMING = "exact "
#: Some that have nothing in common.
_NAMES = ("Nat.le", "foo", "«1»")
#: Kinds of passages.
DECLARATION, LEMMA, STEP, FAILURE = "declaration", "lemma", "step", "failure"
#: Kinds of declarations that are remembered.
REMEMBERED = frozenset(("theorem", "definition", "inductive", "constructor", "axiom"))


def of_declaration(codec: Codec, declaration: Declaration, kind: str = DECLARATION) -> Reading:
    """A declaration as the goal that it proves."""
    said = (Mark.TACTIC, *answer(f"{_NAMING}{declaration.name}"))
    return _reading(codec, f"⊢ {declaration.type}", said, declaration.name, declaration.module, kind)


def asking(codec: Codec, goal: str) -> tuple[int, ...]:
    """The tokens behind which a declaration's name was read, with a goal in place of what it proves."""
    return (*_context(codec, goal), *_before_names(codec))


@lru_cache(4)
def _before_names(codec: Codec) -> tuple[int, ...]:
    # Whether the space is a token of its own, or the name's, is a tokenizer's matter.
    said = (codec.encode((Mark.TACTIC, *answer(_NAMING + name))) for name in _NAMES)
    shared = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*said, strict=False))
    return tuple(tokens[0] for tokens in shared)


def of_tactic(
    codec: Codec, goals: Sequence[str], tactic: str, works: bool, theorem: str, module: str = ""
) -> Reading:
    """A tactic that was tried in a proof, and how it went."""
    said = (Mark.TACTIC, *answer(tactic), verdict(works))
    return _reading(codec, "\n\n".join(goals), said, theorem, module, STEP if works else FAILURE)


def document_of(codec: Codec, module: str, declared: Sequence[Declaration]) -> Document:
    """A module of a library."""
    kept = (of_declaration(codec, it) for it in declared if it.kind in REMEMBERED)
    return Document(module, tuple(kept))


def _reading(codec: Codec, goal: str, said: Sequence[Piece], name: str, module: str, kind: str) -> Reading:
    return Reading(_context(codec, goal), Passage(name, module, kind, codec.encode(said)))


def _context(codec: Codec, goal: str) -> tuple[int, ...]:
    context = codec.encode((Mark.GOAL, goal, Mark.GOAL_END))
    # The opening mark stays, whatever is cut.
    return context if len(context) <= CONTEXT_TOKENS else (context[0], *context[1 - CONTEXT_TOKENS :])
