"""What was tried is remembered once, found by whom it may be, and kept across runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.catalogue import MemoryKind
from memory.store import MemoryStore
from prover.decoder.codec import Codec
from prover.decoder.options import FAILURES, STEPS
from prover.environment import Scope, TacticState
from prover.errors import InputError, ModelUnavailable
from prover.generators.base import Query, Step, Tried
from prover.recall.experience import PER_STATE, TOGETHER, Experience, open_store
from prover.recall.passages import FAILURE, STEP, of_tactic
from tests.decoder.tiny import tiny_tokenizer
from tests.generators.samples import goal
from tests.recall.counting import HEADS, WIDTH, CountingReader

KIND = MemoryKind("a model", 1, HEADS, WIDTH)
#: A place in the history, so that the query is none at a root.
DEEP = (Step(("⊢ q",), "intro"),)


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer(folder)
    return Codec(AutoTokenizer.from_pretrained(folder))  # type: ignore[arg-type]


def query(
    target: str = "p", place: int | None = None, seed: int = 0, history: tuple[Step, ...] = DEEP
) -> Query:
    state = TacticState((goal(target),), ())
    return Query(state, history, f"theorem at {place}", seed, Scope(None, (), place))


def failed(*tactics: str) -> list[Tried]:
    return [Tried(tactic, False) for tactic in tactics]


def proof(*tactics: str) -> list[Step]:
    return [Step((f"⊢ before {tactic}",), tactic) for tactic in tactics]


def entries(experience: Experience, at: Query) -> int:
    experience.check_invariants()
    return sum(map(len, experience.memories(at)))


def length(codec: Codec, *tactics: str) -> int:
    """Entries of tactics."""
    return sum(len(of_tactic(codec, ("⊢ p",), tactic, True, "").passage.tokens) for tactic in tactics)


# --- steps ----------------------------------------------------------------------------------------


def test_a_proof_is_read_before_the_next_query_is_asked(codec: Codec) -> None:
    reader = CountingReader()
    experience = Experience(codec, reader)
    assert experience.memory_hash == "" and not experience.is_due([query()])
    experience.learn([*proof("simp", "omega"), Step((), "done")], None)
    assert experience.is_due([query()]) and reader.batches == [] and experience.memory_hash
    experience.read([query()])
    assert not experience.is_due([query()])
    assert entries(experience, query()) == length(codec, "simp", "omega")
    assert reader.texts == [
        of_tactic(codec, (f"⊢ before {tactic}",), tactic, True, "").text.tokens
        for tactic in ("simp", "omega")
    ]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 9))), max_size=12))
def test_what_was_learned_at_a_place_is_found_at_later_ones_alone(
    codec: Codec, lessons: list[tuple[int, int | None]]
) -> None:
    reader = CountingReader()
    experience = Experience(codec, reader)
    first: dict[str, int] = {}
    for which, place in lessons:
        tactic = f"exact {'h' * (which + 1)}"
        experience.learn(proof(tactic), place)
        first[tactic] = min(first.get(tactic, 99), -1 if place is None else place)
        for before in (None, *range(11)):
            at = query(place=before)
            experience.read([at])
            found = [tactic for tactic, own in first.items() if before is None or own < before]
            assert entries(experience, at) == length(codec, *found)
    assert len(reader.texts) == len(set(reader.texts)) == len(first), "nothing is read twice"


def test_what_it_has_learned_has_a_hash(codec: Codec) -> None:
    hashes = set()
    for lessons in ([("simp", 1)], [("simp", 2)], [("omega", 1)], [("simp", 1), ("omega", 1)]):
        experience = Experience(codec, CountingReader())
        for tactic, place in lessons:
            experience.learn(proof(tactic), place)
        before = experience.memory_hash
        experience.learn(proof(lessons[0][0]), lessons[0][1])
        experience.read([query()])
        assert experience.memory_hash == before, "the same again is nothing new, and reading isn't learning"
        hashes.add(before)
    assert len(hashes) == 4


# --- failures -------------------------------------------------------------------------------------


def observe(experience: Experience, at: Sequence[Query], *tactics: str) -> None:
    for it in at:
        experience.observe(it, failed(*tactics))


def states(count: int, place: int | None = None, seed: int = 0) -> list[Query]:
    return [query(f"p{number}", place, seed) for number in range(count)]


def test_failures_are_read_together(codec: Codec) -> None:
    reader = CountingReader()
    experience = Experience(codec, reader)
    for number, at in enumerate(states(TOGETHER), 1):
        observe(experience, [at], "simp")
        assert experience.is_due([at]) is (number == TOGETHER)
        experience.read([at])
    assert [len(batch) for batch in reader.batches] == [TOGETHER]


def test_what_is_left_is_read_when_a_search_begins(codec: Codec) -> None:
    reader = CountingReader()
    experience = Experience(codec, reader)
    observe(experience, states(1), "simp")
    assert not experience.is_due([query()]) and experience.is_due([query(history=())])
    experience.read([query()])
    assert reader.batches == []
    experience.read([query(history=())])
    assert entries(experience, query()) == length(codec, "simp")


def test_few_of_a_state_each_once_and_only_what_failed(codec: Codec) -> None:
    reader = CountingReader()
    experience = Experience(codec, reader)
    tactics = [f"exact h{number}" for number in range(PER_STATE + 3)]
    experience.observe(query(), [Tried("simp", True), *failed("omega", "omega")])
    observe(experience, [query(), query()], *tactics)
    experience.read([query(history=())])
    assert len(reader.texts) == PER_STATE
    assert reader.texts[0] == of_tactic(codec, (query().state.pretty,), "omega", False, "").text.tokens
    assert len(set(reader.texts)) == PER_STATE


def test_failures_at_a_place_stay_within_their_search(codec: Codec) -> None:
    experience = Experience(codec, CountingReader())
    observe(experience, states(TOGETHER, place=3), "simp")
    experience.read(states(1, place=3))
    assert entries(experience, query(place=3)) == TOGETHER * length(codec, "simp")
    for other in (query(place=4), query(place=2), query(place=3, seed=1)):
        experience.read([other])
        assert entries(experience, other) == 0


def test_without_places_every_search_finds_them(codec: Codec) -> None:
    experience = Experience(codec, CountingReader())
    observe(experience, states(TOGETHER), "simp")
    experience.read(states(1))
    other = Query(query("other").state, DEEP, "another theorem", 7)
    assert entries(experience, other) == TOGETHER * length(codec, "simp")


@pytest.mark.parametrize("kinds", [(), (STEPS,), (FAILURES,)])
def test_each_kind_can_be_left_out(codec: Codec, kinds: tuple[str, ...]) -> None:
    experience = Experience(codec, CountingReader(), kinds)
    experience.learn(proof("omega"), None)
    observe(experience, states(1), "simp_all")
    experience.read([query(history=())])
    wanted = {STEPS: length(codec, "omega"), FAILURES: length(codec, "simp_all")}
    assert entries(experience, query()) == sum(wanted[kind] for kind in kinds)
    assert bool(experience.memory_hash) is (STEPS in kinds)


# --- across runs ----------------------------------------------------------------------------------


def test_another_run_begins_with_what_was_kept(codec: Codec, tmp_path: Path) -> None:
    first = Experience(codec, CountingReader(), store=open_store(tmp_path / "kept", KIND))
    first.learn(proof("simp", "omega"), None)
    observe(first, states(3), "rfl", "decide")
    first.read([query()])
    first.finish()
    reader = CountingReader()
    second = Experience(codec, reader, store=open_store(tmp_path / "kept", KIND))
    assert second.memory_hash == first.memory_hash
    second.learn(proof("simp", "omega"), None)
    observe(second, states(3), "rfl", "decide")
    second.read([query(history=())])
    assert reader.texts == [], "what was read by the first is not read again"
    per_state = length(codec, "rfl", "decide")
    assert entries(second, query()) == length(codec, "simp", "omega") + 3 * per_state
    second.learn(proof("exact h"), None)
    second.finish()
    with MemoryStore.open(tmp_path / "kept", KIND) as store:
        assert store.info().kinds == {FAILURE: 6, STEP: 3}
        assert [it.name for it in store.passages if it.kind == STEP] == ["simp", "omega", "exact h"]


def test_another_models_experience_is_refused(codec: Codec, tmp_path: Path) -> None:
    open_store(tmp_path / "kept", KIND).close()
    with pytest.raises(InputError, match="another folder"):
        open_store(tmp_path / "kept", MemoryKind("another", 1, HEADS, WIDTH))


def test_two_runs_do_not_write_at_once(tmp_path: Path) -> None:
    with open_store(tmp_path / "kept", KIND), pytest.raises(ModelUnavailable, match="Another process"):
        open_store(tmp_path / "kept", KIND)


def test_what_is_kept_has_no_place(codec: Codec, tmp_path: Path) -> None:
    experience = Experience(codec, CountingReader(), store=open_store(tmp_path / "kept", KIND))
    with pytest.raises(ValueError, match="place 3"):
        experience.learn(proof("simp"), 3)
    experience.finish()
