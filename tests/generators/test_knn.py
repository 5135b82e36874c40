"""The kNN generator: it remembers, adapts and looks lemmas up; and mixtures of generators."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.choosing import check_generator, make_baseline, mixture_of, needs_corpus
from prover.errors import InputError
from prover.generators.base import Candidate, Learner, Query, Step, content_hash, memory_hash
from prover.generators.experience import Experience
from prover.generators.knn import KNN, WIDTH
from prover.generators.mixture import Mixture, mix
from prover.generators.portfolio import Portfolio
from tests.generators.samples import CORPUS, LENGTH, goal, query


async def tactics(generator: KNN, at: Query) -> list[str]:
    return [candidate.tactic for candidate in (await generator.generate([at]))[0]]


def taught(tactic: str, goal: str = LENGTH.pretty, position: int | None = 3) -> KNN:
    generator = KNN(CORPUS)
    generator.learn([Step((goal,), tactic)], position)
    return generator


async def test_proposes_what_worked_on_the_same_goal_first() -> None:
    assert (await tactics(taught("induction xs <;> grind"), query(LENGTH)))[0] == "induction xs <;> grind"


async def test_answers_each_query_in_order() -> None:
    other = goal("n + 0 = n", ("n", "Nat"), constants=("Eq", "HAdd.hAdd", "Nat"))
    one, two = await KNN(CORPUS).generate([query(LENGTH), query(other)])
    assert "apply List.length_map" in {c.tactic for c in one}
    assert "apply Nat.add_zero" in {c.tactic for c in two}


@pytest.mark.parametrize(("position", "known"), [(None, True), (4, True), (3, False), (0, False)])
async def test_learns_nothing_from_the_same_or_a_later_place(position: int | None, known: bool) -> None:
    found = await tactics(taught("omega"), query(LENGTH, position=position))
    assert ("omega" in found) is known


async def test_a_lemma_out_of_reach_is_replaced_by_a_near_one() -> None:
    generator = taught("rw [List.length_map_late, Nat.add_zero]")
    found = await tactics(generator, query(LENGTH, CORPUS.accessible("C")))
    assert found[0] == "rw [List.length_map, Nat.add_zero]"
    assert not any("length_map_late" in tactic for tactic in found)


async def test_two_lemmas_out_of_reach_are_too_many() -> None:
    generator = taught("rw [List.length_map, List.map_id, Nat.add_zero]")
    found = await tactics(generator, query(LENGTH, frozenset({"A"})))
    assert not any(tactic.startswith("rw [") and tactic.endswith(", Nat.add_zero]") for tactic in found)


async def test_a_lemma_follows_its_namespace_where_there_is_one() -> None:
    there = goal("a = b", ("a", "Word8"), ("b", "Word8"))
    here = goal("x = y", ("x", "Word16"), ("y", "Word16"))
    found = await tactics(taught("apply (Word8.toNat_inj.mp (Nat.add_zero a))", there.pretty), query(here))
    assert "apply (Word16.toNat_inj.mp (Nat.add_zero x))" in found
    found = await tactics(taught("exact Word8.toNat_inj'", there.pretty), query(here))
    assert "exact Word8.toNat_inj'" in found  # Word16 has none


async def test_candidates_are_a_distribution() -> None:
    candidates = (await taught("omega").generate([query(LENGTH)]))[0]
    assert 0 < len(candidates) <= WIDTH
    assert sum(math.exp(c.logprob) for c in candidates) == pytest.approx(1.0)
    assert candidates == sorted(candidates, key=lambda c: -c.logprob)
    assert len({c.tactic for c in candidates}) == len(candidates)


async def test_a_goal_like_nothing_at_all_is_answered() -> None:
    assert await KNN(CORPUS).generate([query(goal("p", head=""))]) == [[]]


def test_hashes_tell_settings_from_memories() -> None:
    fresh, wiser = KNN(CORPUS), taught("omega")
    assert fresh.content_hash == wiser.content_hash and len(fresh.content_hash) == 16
    assert fresh.memory_hash == "" and wiser.memory_hash == wiser.experience.content_hash != ""
    assert len(Portfolio().content_hash) == 16 and memory_hash(Portfolio()) == ""


# --- mixtures ----------------------------------------------------------------------------------------

LISTS = st.lists(
    st.builds(Candidate, st.sampled_from("abcdef"), st.floats(-9, -2)),
    max_size=6,
    unique_by=lambda c: c.tactic,
)


@given(st.lists(st.tuples(LISTS, st.floats(0.1, 1.0)), min_size=1, max_size=3), st.integers(1, 6))
def test_a_mixture_of_distributions_is_one(parts: list[tuple[list[Candidate], float]], width: int) -> None:
    total = sum(weight for _, weight in parts)
    mixed = mix([(candidates, math.log(weight / total)) for candidates, weight in parts], width)
    assert math.fsum(math.exp(c.logprob) for c in mixed) <= 1.0 + 1e-9
    assert len(mixed) <= width and len({c.tactic for c in mixed}) == len(mixed)
    for candidate in mixed:
        shares = [(c.logprob, w) for cs, w in parts for c in cs if c.tactic == candidate.tactic]
        share = math.fsum(math.exp(logprob) * w / total for logprob, w in shares)
        assert math.exp(candidate.logprob) == pytest.approx(share)


class Fixed:
    """A generator that always says the same."""

    name = "fixed"

    def __init__(self, *tactics: str) -> None:
        self.answer = [Candidate(tactic, math.log(1 / len(tactics))) for tactic in tactics]

    async def generate(self, queries: list[Query]) -> list[list[Candidate]]:
        return [self.answer for _ in queries]


async def test_what_both_propose_comes_first() -> None:
    mixture = Mixture([(Fixed("a", "b"), 1.0), (Fixed("c", "b"), 1.0)])
    [candidates] = await mixture.generate([query(LENGTH)])
    assert candidates[0].tactic == "b" and candidates[0].logprob == pytest.approx(math.log(0.5))
    assert mixture.name == "fixed+fixed"


def test_teaches_the_parts_that_learn() -> None:
    knn = KNN(CORPUS)
    mixture = Mixture([(Portfolio(), 1.0), (knn, 1.0)])
    before = content_hash(mixture)
    assert isinstance(mixture, Learner) and memory_hash(mixture) == ""
    mixture.learn([Step((LENGTH.pretty,), "omega")], 1)
    assert len(knn.experience) == 1 and memory_hash(mixture) == knn.memory_hash
    assert content_hash(mixture) == before != content_hash(Mixture([(Portfolio(), 2.0), (knn, 1.0)]))


def test_a_mixture_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="weights"):
        Mixture([])
    with pytest.raises(ValueError, match="weights"):
        Mixture([(Portfolio(), 0.0)])


# --- by name ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["portfolio", "knn", "portfolio+knn"])
def test_made_by_name(name: str) -> None:
    experience = Experience()
    check_generator(name)
    generator = mixture_of({part: make_baseline(part, CORPUS, experience) for part in name.split("+")})
    assert generator.name == name and len(content_hash(generator)) == 16
    if isinstance(generator, Learner):
        generator.learn([Step((LENGTH.pretty,), "omega")], None)
        assert len(experience) == 1
    assert isinstance(generator, Learner) is needs_corpus(name)


@pytest.mark.parametrize("name", ["oracle", "", "portfolio+", "knn+knn"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="choose portfolio, knn, memory, decoder"):
        check_generator(name)


def test_premises_are_asked_for() -> None:
    with pytest.raises(InputError, match="premises"):
        make_baseline("knn")
    make_baseline("portfolio")
