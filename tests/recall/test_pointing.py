"""Declarations that a memory finds at a goal, as lemmas to prove it with."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memory.modeling import memory_shape
from memory.reading import Reader
from prover.choosing import _Parts, generator_by_name, has_decoder, needs_corpus, needs_scope
from prover.decoder.checkpoint import LoadedModel, load_checkpoint
from prover.decoder.options import FILE, LIBRARY, SHIPPED_CHECKPOINT, STEPS, DecoderOptions
from prover.environment import Scope
from prover.errors import InputError
from prover.generators.base import Query, Step
from prover.generators.knn import KNN, WIDTH
from prover.generators.lemma_tactics import propose
from prover.generators.lemmas import Lemma
from prover.generators.portfolio import rank
from prover.generators.printed import shape
from prover.premises import PremiseCorpus
from prover.recall.library import LibraryMemory, build_library, kind_of
from prover.recall.opening import opened_pointing
from prover.recall.own import OwnDeclarations
from prover.recall.passages import asking, of_declaration
from prover.recall.pointing import Pointer, Pointing, together
from tests.decoder.tiny import tiny_memorizing
from tests.generators.samples import CORPUS, goal, query, theorem
from tests.recall.counting import CountingReader
from tests.recall.test_source import NO_POOL, told

torch.set_num_threads(1)

DECLARED = {it.name: it for it in CORPUS.premises}
IN_A = {it.name for it in CORPUS.premises if it.module == "A" and it.kind == "theorem"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A random model whose queries are its keys, and sharp: who asks as something was read finds it."""
    loaded = load_checkpoint(str(tiny_memorizing(tmp_path_factory.mktemp("model"))), "cpu", "float32")
    attention = loaded.model.model.layers[memory_shape(loaded.model).layer].self_attn
    groups, width = memory_shape(loaded.model).heads, memory_shape(loaded.model).width
    heads = loaded.model.config.num_attention_heads // groups
    with torch.no_grad():
        keys = attention.k_proj.weight.view(groups, 1, width, -1).expand(-1, heads, -1, -1)
        attention.q_proj.weight.copy_(keys.reshape_as(attention.q_proj.weight))
        attention.memory_scale.fill_(50_000.0)
    return loaded


@pytest.fixture(scope="module")
def library(loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> LibraryMemory:
    folder = tmp_path_factory.mktemp("library")
    build_library(loaded, CORPUS, folder, told)
    return LibraryMemory.open(folder, kind_of(loaded)[0])


def at(name: str, modules: frozenset[str] | None = None) -> Query:
    """A goal that is what a declaration proves."""
    declared = DECLARED[name]
    return query(goal(declared.type, constants=declared.constants, head="∀"), modules)


def test_a_name_is_asked_for_behind_the_words_that_it_was_read_behind(loaded: LoadedModel) -> None:
    assert loaded.codec is not None
    for declared in CORPUS.premises:
        text = of_declaration(loaded.codec, declared).text.tokens
        asked = asking(loaded.codec, f"⊢ {declared.type}")
        assert text[: len(asked)] == asked and len(asked) < len(text)


def found_by(pointing: Pointing, *at: Query) -> list[str]:
    """The lemmas that the memory finds, the best first."""
    return [lemma.name for query in at for lemma in pointing.pointed(query)]


def test_what_proves_a_goal_is_found_where_it_may_be_used(
    loaded: LoadedModel, library: LibraryMemory
) -> None:
    pointing = Pointing(CORPUS, Pointer(loaded), library)
    for name in ("Nat.add_comm", "List.map_id", "List.length_map_late"):
        assert found_by(pointing, at(name))[0] == name
        best, *others = pointing.pointed(at(name))
        assert best.score == 1.0 and all(0.0 < lemma.score <= 1.0 for lemma in others)
    in_reach = found_by(pointing, at("List.map_id", frozenset({"A"})))
    assert in_reach and set(in_reach) <= IN_A, "not of modules out of reach"
    assert not {"Nat", "List.double"} & set(found_by(pointing, at("Nat.add_comm"))), "theorems alone"


def test_a_files_own_lemmas_are_found_as_well(loaded: LoadedModel, library: LibraryMemory) -> None:
    assert loaded.codec is not None
    reader = Reader(loaded.model, loaded.max_context)
    own = (theorem("glorp", "", "∀ (n : Nat), n * 1 = n"), theorem("blip", "", "1 = 2"))
    asked = replace(query(goal("∀ (n : Nat), n * 1 = n", head="∀")), scope=Scope(None, own))
    for known in (None, library):
        files = OwnDeclarations(loaded.codec, reader)
        pointing = Pointing(CORPUS, Pointer(loaded), known, files)
        files.is_due([asked])
        files.read()
        assert found_by(pointing, asked)[0] == "glorp"
        before = replace(asked, scope=Scope(None, own[1:]))
        assert "glorp" not in found_by(pointing, before), "not before it is declared"
    assert found_by(Pointing(CORPUS, Pointer(loaded)), asked) == []


async def test_its_lemmas_go_beside_those_of_the_baseline(
    loaded: LoadedModel, library: LibraryMemory
) -> None:
    """What it proposes is what the rules make of both lists; without a memory it is the baseline."""
    asked = [at("Nat.add_comm"), at("List.map_id")]
    plain = KNN(CORPUS)
    without = Pointing(CORPUS, Pointer(loaded))
    assert await without.generate(asked) == await plain.generate(asked)
    pointing = Pointing(CORPUS, Pointer(loaded), library)
    answers = await pointing.generate(asked)
    for one, answer in zip(asked, answers, strict=True):
        near = plain.near(one)
        both = replace(near, lemmas=together(near.lemmas, pointing.pointed(one)))
        assert answer == rank(propose(both), WIDTH) != rank(propose(near), WIDTH)
        assert await pointing.generate([one]) == [answer]
    assert await pointing.generate([]) == []
    pointing.learn([Step((asked[0].state.goals[0].pretty,), "omega")], None)
    assert "omega" in [it.tactic for it in (await pointing.generate(asked[:1]))[0]], "it learns as that does"


def test_scores_of_both_lists_add_up() -> None:
    def lemma(name: str, score: float) -> Lemma:
        return Lemma(name, score, shape("True"))

    one, other = [lemma("a", 1.0), lemma("b", 0.5)], [lemma("c", 1.0), lemma("b", 0.75)]
    assert together(one, other) == [lemma("b", 1.0), lemma("a", 0.8), lemma("c", 0.8)]
    assert together(one, []) == one and together([], []) == []


async def test_a_file_is_read_before_it_is_asked_about(loaded: LoadedModel) -> None:
    assert loaded.codec is not None
    reader = Reader(loaded.model, loaded.max_context)
    pointing = Pointing(CORPUS, Pointer(loaded), None, OwnDeclarations(loaded.codec, reader))
    own = (theorem("glorp", "", "∀ (n : Nat), n * 1 = n"),)
    asked = replace(query(goal("∀ (n : Nat), n * 1 = n", head="∀")), scope=Scope(None, own))
    (answer,) = await pointing.generate([asked])
    assert "exact glorp" in [it.tactic for it in answer]


def test_the_hash_is_of_model_and_memory(loaded: LoadedModel, library: LibraryMemory) -> None:
    assert loaded.codec is not None
    own = OwnDeclarations(loaded.codec, CountingReader())
    pointer = Pointer(loaded)
    several = [Pointing(CORPUS, pointer, *it) for it in ((), (library,), (None, own))]
    assert len({it.content_hash for it in several} | {KNN(CORPUS).content_hash}) == 4


# --- what was asked for ---------------------------------------------------------------------------


async def read() -> PremiseCorpus:
    return CORPUS


async def test_it_is_chosen_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAN_PROVER_CACHE", str(tmp_path))
    folder = tiny_memorizing(tmp_path / "model")
    chosen = DecoderOptions(str(folder), "history", device="cpu", dtype="float32")
    assert needs_corpus("memory", chosen) and needs_scope("portfolio+memory", chosen)
    assert has_decoder("memory")
    loaded = load_checkpoint(str(folder), "cpu", "float32")
    hashes = []
    for memories in (None, (LIBRARY, FILE), None):
        async with opened_pointing(loaded, memories, CORPUS, told) as pointing:
            hashes.append(pointing.content_hash)
            assert bool(found_by(pointing, at("Nat.add_comm"))) is (len(hashes) > 1)
    assert hashes[0] != hashes[1] == hashes[2], "a library that has been read is used"
    for memories in ((), (STEPS,)):
        async with opened_pointing(loaded, memories, CORPUS, told) as pointing:
            assert found_by(pointing, at("Nat.add_comm")) == [], "it is the baseline"
    served = replace(chosen, model="http://localhost:1/v1")
    for options, model in ((chosen, folder), (served, SHIPPED_CHECKPOINT)):
        async with AsyncExitStack() as holding:
            parts = _Parts(holding, options, told, None, read)
            assert isinstance(generator := await parts.make("memory"), Pointing)
            used = load_checkpoint(str(model), "cpu", "float32").content_hash
            assert generator._pointer.content_hash == used, "without a memory layer, ours is asked"
    with pytest.raises(InputError, match="there is no generator"):
        async with generator_by_name("memories", NO_POOL, told, chosen):
            pass
