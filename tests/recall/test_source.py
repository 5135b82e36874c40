"""All memories as one: who finds what, what is read when, and a decoder that reads it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
import torch

from memory.external import ExternalMemory, UnionMemory
from memory.lookup import Memory
from memory.reading import Pairs, Reader, Text
from prover.choosing import generator_by_name, learns, needs_corpus, needs_scope
from prover.decoder.checkpoint import LoadedModel, load_checkpoint
from prover.decoder.options import FAILURES, FILE, LIBRARY, STEPS, DecoderOptions
from prover.environment import Scope
from prover.errors import InputError
from prover.generators.base import Candidate, Learner, Observer, Query, Step, Tried, content_hash, memory_hash
from prover.lean.pool import LeanPool
from prover.recall.experience import PER_STATE, TOGETHER, Experience
from prover.recall.opening import opened_recall
from prover.recall.own import OwnDeclarations
from prover.recall.passages import LEMMA, of_declaration
from prover.recall.source import Recall
from prover.search.best_first import Budget, best_first_search
from tests.decoder.tiny import tiny_checkpoint, tiny_memorizing
from tests.generators.samples import CORPUS, LENGTH, query, theorem
from tests.recall.counting import CountingReader
from tests.search.fake_environment import FakeEnvironment

torch.set_num_threads(1)

OWN = (
    theorem("first", "", "∀ (a : Nat),\n  a = a"),
    theorem("second", "", "True"),
    theorem("third", "", "1 = 1"),
    theorem("second.match_1", "", "True"),
)
PROOF = [Step(("⊢ x = y",), "exact h.symm")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_memorizing(tmp_path_factory.mktemp("memorizing"))


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    return load_checkpoint(str(folder), "cpu", "float32")


def told(text: str, done: int, total: int) -> None:
    """Takes reports."""


def in_scope(count: int, position: int | None = None) -> Query:
    return replace(query(LENGTH), scope=Scope(None, OWN[:count], position))


def lengths(loaded: LoadedModel, count: int) -> int:
    assert loaded.codec is not None
    readings = (of_declaration(loaded.codec, it, LEMMA) for it in OWN[:count])
    return sum(len(reading.passage.tokens) for reading in readings)


def size(recall: Recall, at: Query) -> int:
    memory = recall.memory_for(at)
    return 0 if memory is None else len(memory)


class FakeLibrary:
    """Two modules, each with a memory."""

    content_hash = "library"

    def __init__(self) -> None:
        pairs = CountingReader().read([Text((1, 2, 3), 3)])
        self.memory = ExternalMemory("torch", pairs.keys, pairs.values)
        self.asked: list[frozenset[str] | None] = []

    def view(self, modules: frozenset[str] | None) -> Memory:
        self.asked.append(modules)
        return self.memory


def pieces(loaded: LoadedModel, reader: CountingReader) -> tuple[OwnDeclarations, Experience]:
    assert loaded.codec is not None
    return OwnDeclarations(loaded.codec, reader), Experience(loaded.codec, reader)


# --- what is found --------------------------------------------------------------------------------


async def test_a_file_is_read_once_and_each_theorem_sees_what_stands_before_it(loaded: LoadedModel) -> None:
    reader = CountingReader()
    own, _ = pieces(loaded, reader)
    recall = Recall(own=own)
    queries = [in_scope(count) for count in (0, 2, 3, 4, 1)]
    for at in queries:
        await recall.prepare([at])
    assert len(reader.texts) == len(set(reader.texts)) == 3, "what Lean made by itself is left out"
    assert [size(recall, at) for at in queries] == [lengths(loaded, count) for count in (0, 2, 3, 3, 1)]
    assert loaded.codec is not None
    goal = loaded.codec.decode(reader.texts[0])
    assert "⊢ ∀ (a : Nat), a = a" in goal, "on one line"
    await recall.close()


async def test_the_same_scope_has_the_same_memory_until_something_is_added(loaded: LoadedModel) -> None:
    own, experience = pieces(loaded, CountingReader())
    recall = Recall(FakeLibrary(), own, experience)
    recall.learn(PROOF, 1)
    await recall.prepare([in_scope(2, 5)])
    memory = recall.memory_for(in_scope(2, 5))
    assert isinstance(memory, UnionMemory) and memory is recall.memory_for(in_scope(2, 5))
    assert recall.memory_for(in_scope(2, 0)) is not memory, "learned at a later place"
    assert size(recall, in_scope(2, 0)) == 3 + lengths(loaded, 2) < len(memory)
    recall.learn([Step(("⊢ p",), "simp_all")], 2)
    await recall.prepare([in_scope(2, 5)])
    after = recall.memory_for(in_scope(2, 5))
    assert after is not None and after is not memory and len(after) > len(memory)
    await recall.close()


async def test_any_part_may_be_missing(loaded: LoadedModel) -> None:
    library = FakeLibrary()
    for recall, expected in ((Recall(), None), (Recall(library), library.memory)):
        recall.learn(PROOF, None)
        recall.observe(in_scope(2), [Tried("simp", False)])
        await recall.prepare([in_scope(2)])
        assert recall.memory_for(in_scope(2)) is expected and recall.memory_hash == ""
        await recall.close()
    asked = query(LENGTH, frozenset({"A"}))
    Recall(library).memory_for(asked)
    assert library.asked == [None, frozenset({"A"})]


def test_the_hash_is_of_what_there_is_and_not_of_what_was_learned(loaded: LoadedModel) -> None:
    own, experience = pieces(loaded, CountingReader())
    several = [
        Recall(),
        Recall(FakeLibrary()),
        Recall(own=own),
        Recall(None, own, experience),
        Recall(experience=Experience(experience._codec, CountingReader(), [STEPS])),
    ]
    hashes = [recall.content_hash for recall in several]
    assert len(set(hashes)) == len(several)
    several[3].learn(PROOF, None)
    assert several[3].content_hash == hashes[3] and several[3].memory_hash == experience.memory_hash != ""


async def test_who_asks_while_it_is_read_waits_and_nothing_is_read_twice(loaded: LoadedModel) -> None:
    """Searches side by side find the same, whoever of them had it read, and whoever was cancelled."""
    reader = CountingReader()
    own, experience = pieces(loaded, reader)
    recall = Recall(None, own, experience)
    recall.learn(PROOF, None)
    given_up = asyncio.create_task(recall.prepare([in_scope(3)]))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(*(recall.prepare([in_scope(3)]) for _ in range(4)))
    assert len(reader.texts) == len(set(reader.texts)) == 4
    assert size(recall, in_scope(3)) == lengths(loaded, 3) + size(recall, in_scope(0))
    await recall.close()


# --- with a decoder -------------------------------------------------------------------------------


def options(folder: Path, memory: tuple[str, ...] | None, samples: int = 4) -> DecoderOptions:
    return DecoderOptions(str(folder), "history", samples, device="cpu", dtype="float32", memory=memory)


def logprobs(answers: list[list[Candidate]]) -> dict[str, float]:
    return {candidate.tactic: candidate.logprob for candidate in answers[0]}


#: Never asked: without the library nothing is read from Lean.
NO_POOL = cast(LeanPool, None)


async def test_a_decoder_answers_otherwise_when_it_has_learned(folder: Path) -> None:
    chosen = options(folder, (FILE, STEPS, FAILURES))
    async with generator_by_name("portfolio+decoder", NO_POOL, told, chosen) as generator:
        assert isinstance(generator, Learner) and isinstance(generator, Observer)
        hashes = content_hash(generator), memory_hash(generator)
        at = in_scope(0, 5)
        before = logprobs(await generator.generate([at]))
        generator.learn(PROOF, 7)
        assert logprobs(await generator.generate([at])) == pytest.approx(before, abs=1e-3)
        generator.learn(PROOF, 3)
        assert logprobs(await generator.generate([at])) != pytest.approx(before, abs=1e-2)
        assert content_hash(generator) == hashes[0] and memory_hash(generator) != hashes[1] == ""
        assert await generator.generate([]) == []
    async with generator_by_name("portfolio+decoder", NO_POOL, told, options(folder, ())) as forgetful:
        assert content_hash(forgetful) != hashes[0]


async def test_a_search_reads_what_failed_in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tactic fails but the way to the next state; the failures of some states are read together."""
    read: list[int] = []
    plain = Reader.read

    def counting(self: Reader, texts: list[Text]) -> Pairs:
        read.append(len(texts))
        return plain(self, texts)

    monkeypatch.setattr(Reader, "read", counting)
    states = [f"s{number}" for number in range(12)]
    script = {one: {"rfl": other} for one, other in pairwise(states)}
    async with generator_by_name(
        "portfolio+decoder", NO_POOL, told, options(folder, (FAILURES,), samples=2)
    ) as generator:
        result = await best_first_search(
            FakeEnvironment(script, states[0]), generator, Budget(12, 1000, 60.0), scope=Scope(position=1)
        )
    assert result.counts.errors > 2 * TOGETHER
    assert len(read) >= 2 and all(TOGETHER <= batch < TOGETHER + PER_STATE for batch in read)


async def test_experience_is_kept_across_runs(folder: Path, tmp_path: Path) -> None:
    hashes = []
    for _ in range(2):
        async with generator_by_name(
            "decoder", NO_POOL, told, options(folder, (STEPS,)), tmp_path / "kept"
        ) as generator:
            hashes.append(memory_hash(generator))
            assert isinstance(generator, Learner)
            generator.learn(PROOF, None)
            hashes.append(memory_hash(generator))
    assert hashes[0] == "" and len(set(hashes[1:])) == 1
    other = tiny_memorizing(tmp_path / "other", seed=9)
    with pytest.raises(InputError, match="another folder"):
        async with generator_by_name("decoder", NO_POOL, told, options(other, (STEPS,)), tmp_path / "kept"):
            pass


async def test_the_library_is_read_the_first_time(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAN_PROVER_CACHE", str(tmp_path))
    reports: list[str] = []
    seen = []
    for _ in range(2):
        reports.clear()
        opening = opened_recall(loaded, [LIBRARY], CORPUS, lambda text, done, total: reports.append(text))
        async with opening as recall:
            everything = recall.memory_for(query(LENGTH))
            some = recall.memory_for(query(LENGTH, frozenset({"A"})))
            assert everything is not None and some is not None and 0 < len(some) < len(everything)
            seen.append((len(everything), len(some), bool(reports)))
    assert [it[:2] for it in seen] == [seen[0][:2]] * 2 and [it[2] for it in seen] == [True, False]
    with pytest.raises(InputError, match="read them first"):
        async with opened_recall(loaded, [LIBRARY], None, told):
            pass


# --- what was asked for ---------------------------------------------------------------------------


def test_what_a_generator_needs_depends_on_what_it_remembers(folder: Path, tmp_path: Path) -> None:
    name = "portfolio+decoder"
    plain = tiny_checkpoint(tmp_path / "plain")
    for memory, corpus, scope, taught in (
        (None, False, True, True),
        ((LIBRARY,), True, True, False),
        ((STEPS,), False, True, True),
        ((FILE, FAILURES), False, True, False),
        ((), False, False, False),
    ):
        chosen = options(folder, memory)
        assert needs_corpus(name, chosen) is corpus and needs_scope(name, chosen) is scope
        assert learns(name, chosen) is taught
    assert not needs_scope(name, options(plain, None)) and not needs_scope("portfolio", options(folder, None))
    assert needs_scope("knn") and learns("knn")


async def test_what_cannot_be_remembered_is_refused(folder: Path, tmp_path: Path) -> None:
    plain = tiny_checkpoint(tmp_path / "plain")
    for chosen, remember, why in (
        (options(plain, (STEPS,)), None, "no memory layer"),
        (replace(options(folder, (STEPS,)), engine="vllm"), None, "no memory layer"),
        (options(folder, ("lemmas",)), None, "remembers no lemmas"),
        (options(plain, None), tmp_path / "kept", "leave out --remember"),
        (options(folder, (FILE,)), tmp_path / "kept", "leave out --remember"),
    ):
        with pytest.raises(InputError, match=why):
            async with generator_by_name("decoder", NO_POOL, told, chosen, remember):
                pass
    assert not (tmp_path / "kept").exists()


def test_options_are_described(folder: Path) -> None:
    described = [options(folder, memory).description for memory in (None, (), (LIBRARY, STEPS))]
    assert described[0] + ", memory none" == described[1]
    assert described[2].endswith("memory library+steps")
