"""A decoder's verdicts weigh on candidates, and change nothing else."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prover.decoder.checkpoint import load_checkpoint
from prover.decoder.judging import Judged, judged
from prover.decoder.prompts import Mark
from prover.decoder.transformers_backend import TransformersBackend
from prover.generators.base import Candidate, Query
from prover.generators.mixture import log_sum_exp
from tests.decoder.tiny import tiny_checkpoint

PAIR = [Candidate("simp", math.log(0.5)), Candidate("exact h", math.log(0.25))]


def test_what_is_known_to_fail_comes_last() -> None:
    first, second = judged(PAIR, [math.log(0.1), math.log(0.9)], 1.0)
    assert (first.tactic, second.tactic) == ("exact h", "simp")
    assert math.exp(first.logprob - second.logprob) == pytest.approx(0.25 * 0.9 / (0.5 * 0.1))


def test_half_the_weight_is_half_the_difference() -> None:
    whole, half = (judged(PAIR, [-4.0, -1.0], weight) for weight in (1.0, 0.5))
    gap = [{c.tactic: c.logprob for c in found} for found in (whole, half)]
    shifts = [it["exact h"] - it["simp"] - math.log(0.5) for it in gap]
    assert shifts == pytest.approx([3.0, 1.5])


def test_what_has_no_verdict_keeps_its_place_among_the_mean() -> None:
    found = judged([*PAIR, Candidate("omega", math.log(0.2))], [-2.0, -2.0, None], 1.0)
    assert [c.tactic for c in found] == ["simp", "exact h", "omega"]
    assert judged(PAIR, [None, None], 1.0) == PAIR
    assert judged([], [], 1.0) == [], "all that it has was tried"


@given(
    st.lists(st.tuples(st.floats(-30, -3), st.one_of(st.none(), st.floats(-30, 0))), min_size=1, max_size=8),
    st.floats(0.1, 3),
)
def test_probabilities_add_up_to_what_they_did(
    drawn: list[tuple[float, float | None]], weight: float
) -> None:
    candidates = [Candidate(f"t{i}", logprob) for i, (logprob, _) in enumerate(drawn)]
    found = judged(candidates, [verdict for _, verdict in drawn], weight)
    assert {c.tactic for c in found} == {c.tactic for c in candidates}
    total = log_sum_exp([c.logprob for c in candidates])
    assert log_sum_exp([c.logprob for c in found]) == pytest.approx(total, abs=1e-6)
    assert [c.logprob for c in found] == sorted((c.logprob for c in found), reverse=True)


class _Fixed:
    """Proposes the pair, and judges it."""

    name = "fixed"
    judges = True

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        return [PAIR for _ in queries]

    async def judge(
        self, queries: Sequence[Query], tactics: Sequence[Sequence[str]]
    ) -> list[list[float | None]]:
        return [[-5.0 if tactic == "simp" else -0.1 for tactic in own] for own in tactics]


async def test_a_judged_generator_answers_every_query() -> None:
    query = Query(None, (), "")  # type: ignore[arg-type]
    found = await Judged(_Fixed(), _Fixed(), 1.0).generate([query, query])
    assert [[c.tactic for c in own] for own in found] == [["exact h", "simp"]] * 2


def test_verdicts_are_those_of_a_plain_pass(tmp_path_factory: pytest.TempPathFactory) -> None:
    loaded = load_checkpoint(str(tiny_checkpoint(tmp_path_factory.mktemp("tiny"))), "cpu", "float32")
    codec = loaded.codec
    assert codec is not None
    prompts = [codec.encode([Mark.GOAL, text, Mark.GOAL_END, Mark.TACTIC]) for text in ("x = y", "y")]
    texts = [["rfl", "exact h.symm"], ["simp"]]

    async def run() -> list[list[float]]:
        backend = TransformersBackend(loaded)
        found = await backend.judge(prompts, texts)
        await backend.close()
        return found

    for prompt, own, verdicts in zip(prompts, texts, asyncio.run(run()), strict=True):
        for text, verdict in zip(own, verdicts, strict=True):
            ids = [*prompt, *codec.encode([text, Mark.END])]
            with torch.inference_mode():
                logits = loaded.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].double()
            yes, no = (float(logits[codec.mark_id(mark)]) for mark in (Mark.PROOF, Mark.TACTIC))
            assert verdict == pytest.approx(yes - log_sum_exp([yes, no]), abs=1e-4)
