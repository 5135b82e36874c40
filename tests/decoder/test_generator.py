"""What becomes of a model's answers: candidates of the search, tactic by tactic or along whole proofs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from prover.decoder.completion import Completion, Prompt, Sampling, Usage
from prover.decoder.generator import Decoder
from prover.decoder.whole_proofs import WholeProofs
from prover.generators.base import Query, Step
from tests.generators.samples import LENGTH, query


class Scripted:
    """A backend that answers by the prompt's text, and notes what it was asked."""

    name, content_hash, usage = "scripted", "0" * 16, Usage()

    def __init__(self, answers: dict[str, list[Completion]]) -> None:
        self.answers = answers
        self.asked: list[tuple[Prompt, int]] = []

    async def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        self.asked += zip(prompts, seeds, strict=True)
        return [self.answers.get(str(prompt), []) for prompt in prompts]

    async def close(self) -> None: ...


class Plain:
    """The history's tactics are the prompt; an answer is a tactic with a mark in front."""

    content_hash = "1" * 16

    def prompt(self, query: Query) -> Prompt:
        return ";".join(step.tactic for step in query.history)

    def tactic(self, text: str) -> str:
        return text.removeprefix("> ").strip()


def said(text: str, logprob: float, finished: bool = True) -> Completion:
    return Completion(text, logprob, 3, finished)


def after(*tactics: str) -> Query:
    asked = query(LENGTH)
    steps = tuple(Step((LENGTH.pretty,), tactic) for tactic in tactics)
    return Query(asked.state, steps, "theorem t", 5)


# --- a tactic at a time -------------------------------------------------------------------------------


async def test_equal_samples_count_once_and_ways_to_say_the_same_add_up() -> None:
    answers = [said("simp", -1.0), said("> omega", -2.0), said("omega", -2.5), said("simp", -1.0)]
    (found,) = await Decoder(Scripted({"": answers}), Plain(), Sampling()).generate([after()])
    assert [c.tactic for c in found] == ["simp", "omega"]
    assert found[0].logprob == -1.0
    assert found[1].logprob == pytest.approx(math.log(math.exp(-2.0) + math.exp(-2.5)))


async def test_a_tactic_may_count_the_mean_of_its_tokens() -> None:
    """As BFS-Prover-V2 scores: otherwise a long tactic never has its turn."""
    answers = [
        Completion("omega", -2.0, tokens=1, finished=True),
        Completion("simp only [a, b]", -6.0, tokens=12, finished=True),
        Completion("> omega", -9.0, tokens=3, finished=True),
    ]
    sampling = Sampling(per_token=True)
    (found,) = await Decoder(Scripted({"": answers}), Plain(), sampling).generate([after()])
    assert [(c.tactic, c.logprob) for c in found] == [("simp only [a, b]", -0.5), ("omega", -2.0)]


async def test_what_was_cut_off_or_says_nothing_is_no_candidate() -> None:
    answers = [said("simp [foo", -1.0, finished=False), said("> ", -0.5), said("rfl", -3.0)]
    (found,) = await Decoder(Scripted({"": answers}), Plain(), Sampling()).generate([after()])
    assert [c.tactic for c in found] == ["rfl"]


async def test_queries_are_asked_in_one_batch_with_their_seeds() -> None:
    backend = Scripted({"": [said("a", -1.0)], "a": [said("b", -1.0)]})
    found = await Decoder(backend, Plain(), Sampling()).generate([after("a"), after()])
    assert [[c.tactic for c in one] for one in found] == [["b"], ["a"]]
    assert backend.asked == [("a", 5), ("", 5)]


async def test_probabilities_never_exceed_one() -> None:
    answers = [said("x", -0.01), said("> x", -0.02)]
    (found,) = await Decoder(Scripted({"": answers}), Plain(), Sampling()).generate([after()])
    assert found[0].logprob == 0.0


# --- whole proofs -------------------------------------------------------------------------------------

PROOFS = [
    said("intro x/simp/rfl", -5.0),
    said("intro x/omega", -6.0),
    said("rfl", -7.0),
    said("intro x/simp/om", -9.0, finished=False),
]


def whole(answers: dict[str, list[Completion]]) -> tuple[WholeProofs, Scripted]:
    backend = Scripted(answers)
    return WholeProofs(backend, Plain(), Sampling(), lambda text: text.split("/")), backend


async def test_a_good_beginning_feeds_the_search() -> None:
    generator, backend = whole({"": PROOFS})
    (first,) = await generator.generate([after()])
    assert [(c.tactic, round(math.exp(c.logprob), 6)) for c in first] == [("intro x", 0.75), ("rfl", 0.25)]
    (second,) = await generator.generate([after("intro x")])
    assert [c.tactic for c in second] == ["simp", "omega"]
    (third,) = await generator.generate([after("intro x", "simp")])
    assert [c.tactic for c in third] == ["rfl"], "the torn last tactic is left out"
    assert len(backend.asked) == 1, "the proofs were drawn once"


async def test_a_state_that_no_proof_comes_through_is_asked_for_anew() -> None:
    generator, backend = whole({"": PROOFS, "cases n": [said("simp/omega", -1.0)]})
    await generator.generate([after()])
    (found,) = await generator.generate([after("cases n")])
    assert [c.tactic for c in found] == ["simp"]
    (found,) = await generator.generate([after("cases n", "simp")])
    assert [c.tactic for c in found] == ["omega"]
    assert [prompt for prompt, _ in backend.asked] == ["", "cases n"]
