"""Decoders are kept to names in scope: what is allowed, and what is drawn."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.decoder.checkpoint import load_checkpoint
from prover.decoder.completion import Decoding, Sampling
from prover.decoder.names import Names, NamesInScope
from prover.decoder.transformers_backend import TransformersBackend
from prover.environment import MOST_OWN, Scope
from prover.generators.base import Query
from prover.lean.messages import Declaration
from tests.decoder.tiny import tiny_checkpoint
from tests.generators.samples import CORPUS, LENGTH, query

KNOWN = sorted(
    ["And", "And.intro", "List", "List.map", "List.map_map", "Nat.add_comm", "Nat.le_iff", "congrArg"]
)
NAMES = Names(
    KNOWN, frozenset(["List.map_map", "Nat.add_comm", "Nat.le_iff", "congrArg"]), frozenset(["h", "ih"])
)


def allowed(tactic: str, names: Names = NAMES) -> bool:
    """Whether a tactic can be drawn a letter or a word at a time, to its end."""
    pieces = re.findall(r"\w+|\W", tactic)
    texts = ["".join(pieces[:i]) for i in range(len(pieces))]
    return all(map(names.allows, texts, pieces)) and names.allows(tactic, "")


@pytest.mark.parametrize(
    "tactic",
    [
        "exact List.map_map",
        "rw [← Nat.add_comm, List.map_map]",
        "exact Nat.le_iff.mp h",
        "simp_all only [h, congrArg]",
        "exact h.symm",
        "exact fun y => y",
        "intro y; exact y",
        "obtain ⟨y, hy⟩ := h; exact hy",
        "exact .inl h",
        "exact (congrArg _ h)",
        "induction xs with | nil => rfl | cons y ys ih => exact ih",
        "omega",
    ],
)
def test_what_names_only_what_is_there(tactic: str) -> None:
    assert allowed(tactic)


@pytest.mark.parametrize(
    "tactic",
    [
        "exact List.map_mapp",
        "exact List.ma",
        "rw [Nat.add_comm, Nat.foo]",
        "exact List.foo.bar",
        "refine ⟨List.map_map, Nat.no⟩",
        "exact y",
        "apply congrArgs",
        "simp [h, foo]",
        "exact List.map.mp",
    ],
)
def test_what_names_something_that_is_not(tactic: str) -> None:
    assert not allowed(tactic)


@given(st.sampled_from(KNOWN), st.integers(0, 30))
def test_a_known_name_may_come_in_any_two_parts(name: str, cut: int) -> None:
    first, second = name[:cut], name[cut:]
    assert not first or NAMES.allows("exact ", first)
    assert not second or NAMES.allows(f"exact {first}", second)
    assert NAMES.allows(f"exact {name}", "")


@given(st.text("hNat.l [],←exact", max_size=20), st.text("hNat.l [],←exact", max_size=6))
def test_a_text_that_may_end_could_be_drawn(before: str, added: str) -> None:
    """What may not go on so may not come to its end either: nothing good is cut off early."""
    text = before + added
    if allowed(text):
        assert NAMES.allows(before, added)


def test_the_names_of_a_scope() -> None:
    guides = NamesInScope(CORPUS)
    modules = frozenset(CORPUS.order)
    own = Declaration("mine.first", "theorem", "", "p", ())
    theorem = next(it.name for it in CORPUS.premises if it.kind == "theorem" and "." in it.name)

    def asked(scope: Scope) -> Query:
        return replace(query(LENGTH), scope=scope)

    names = guides(asked(Scope(modules, (own,))))
    assert names is not None
    assert allowed(f"exact {theorem}", names) and allowed("exact mine.first", names)
    assert allowed(f"exact {LENGTH.hypotheses[0].name}", names)
    without = guides(asked(Scope(frozenset())))
    assert without is not None and not allowed(f"exact {theorem}", without)


def test_where_not_all_is_known_nothing_is_refused() -> None:
    guides = NamesInScope(CORPUS)
    own = Declaration("mine", "theorem", "", "p", ())
    for scope in (
        Scope(None),
        Scope(frozenset(["Mathlib.Foreign"])),
        Scope(frozenset(CORPUS.order), (own,) * MOST_OWN),
    ):
        assert guides(replace(query(LENGTH), scope=scope)) is None


class NoLetter:
    """Allows no text with this letter, and no end before there are three."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def allows(self, before: str, added: str) -> bool:
        return self.letter not in added and (bool(added) or len(before) >= 3)


@pytest.mark.parametrize("decoding", list(Decoding))
async def test_a_guide_holds_for_its_own_prompt_alone(tmp_path: Path, decoding: Decoding) -> None:
    loaded = load_checkpoint(str(tiny_checkpoint(tmp_path)), "cpu")
    assert loaded.codec is not None
    backend = TransformersBackend(loaded)
    sampling = Sampling(n=8, decoding=decoding, max_tokens=6)
    prompt = loaded.codec.encode(["p"])
    (free,) = await backend.complete([prompt], sampling, [1])
    letter = next(c for it in free for c in it.text if c.isascii() and c.isalpha())
    guided, other = await backend.complete(
        [prompt, prompt], sampling, [1, 1], guides=[NoLetter(letter), None]
    )
    await backend.close()
    assert [it.text for it in other] == [it.text for it in free]
    assert guided and all(letter not in it.text for it in guided)
    assert all(len(it.text) >= 3 for it in guided if it.finished)
