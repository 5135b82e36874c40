"""Declarations that a memory finds at a goal, as lemmas to prove it with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memory.modeling import memory_shape
from memory.reading import Reader
from prover.choosing import generator_by_name, has_decoder, needs_corpus, needs_scope
from prover.decoder.checkpoint import LoadedModel, load_checkpoint
from prover.decoder.options import FILE, LIBRARY, STEPS, DecoderOptions
from prover.environment import Scope
from prover.errors import InputError
from prover.generators.base import Query
from prover.recall.library import LibraryMemory, build_library, kind_of
from prover.recall.opening import opened_pointing
from prover.recall.own import OwnDeclarations
from prover.recall.passages import asking, of_declaration
from prover.recall.pointing import Pointer, Pointing
from tests.decoder.tiny import tiny_checkpoint, tiny_memorizing
from tests.generators.samples import CORPUS, goal, query, theorem
from tests.recall.counting import CountingReader
from tests.recall.test_source import NO_POOL, told

torch.set_num_threads(1)

DECLARED = {it.name: it for it in CORPUS.premises}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A random model whose queries are its keys: who asks as something was read finds it."""
    loaded = load_checkpoint(str(tiny_memorizing(tmp_path_factory.mktemp("model"))), "cpu", "float32")
    attention = loaded.model.model.layers[memory_shape(loaded.model).layer].self_attn
    groups, width = memory_shape(loaded.model).heads, memory_shape(loaded.model).width
    heads = loaded.model.config.num_attention_heads // groups
    with torch.no_grad():
        keys = attention.k_proj.weight.view(groups, 1, width, -1).expand(-1, heads, -1, -1)
        attention.q_proj.weight.copy_(keys.reshape_as(attention.q_proj.weight))
        attention.memory_scale.fill_(50.0)
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


async def test_what_proves_a_goal_is_found_where_it_may_be_used(
    loaded: LoadedModel, library: LibraryMemory
) -> None:
    pointing = Pointing(Pointer(loaded), DECLARED, library)
    for name in ("Nat.add_comm", "List.map_id", "List.length_map_late"):
        (found,) = await pointing.generate([at(name)])
        assert found[0].tactic == f"exact {name}"
        assert sum(2.718281828**it.logprob for it in found) == pytest.approx(1.0)
    (found,) = await pointing.generate([at("List.map_id", frozenset({"A"}))])
    assert all("List" not in it.tactic for it in found), "not of modules out of reach"
    both = await pointing.generate([at("Nat.add_comm"), at("List.map_id")])
    alone = [await pointing.generate([at(name)]) for name in ("Nat.add_comm", "List.map_id")]
    assert both == [one for (one,) in alone] and await pointing.generate([]) == []


async def test_a_files_own_lemmas_are_found_as_well(loaded: LoadedModel, library: LibraryMemory) -> None:
    assert loaded.codec is not None
    reader = Reader(loaded.model, loaded.max_context)
    own = (theorem("glorp", "", "∀ (n : Nat), n * 1 = n"), theorem("blip", "", "1 = 2"))
    for known in (None, library):
        pointing = Pointing(Pointer(loaded), DECLARED, known, OwnDeclarations(loaded.codec, reader))
        asked = replace(query(goal("∀ (n : Nat), n * 1 = n", head="∀")), scope=Scope(None, own))
        (found,) = await pointing.generate([asked])
        assert found[0].tactic == "exact glorp"
        (before,) = await pointing.generate([replace(asked, scope=Scope(None, own[1:]))])
        assert all("glorp" not in it.tactic for it in before), "not before it is declared"
    (nothing,) = await Pointing(Pointer(loaded), {}).generate([asked])
    assert nothing == []


def test_the_hash_is_of_model_and_memory(loaded: LoadedModel, library: LibraryMemory) -> None:
    assert loaded.codec is not None
    own = OwnDeclarations(loaded.codec, CountingReader())
    pointer = Pointer(loaded)
    several = [Pointing(pointer, {}), Pointing(pointer, DECLARED, library), Pointing(pointer, {}, None, own)]
    assert len({it.content_hash for it in several}) == 3


# --- what was asked for ---------------------------------------------------------------------------


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
            (found,) = await pointing.generate([at("Nat.add_comm")])
            assert bool(found) is (len(hashes) > 1)
    assert hashes[0] != hashes[1] == hashes[2], "a library that has been read is used"
    plain = tiny_checkpoint(tmp_path / "plain")
    for options, why in (
        (replace(chosen, memory=(STEPS,)), "leave one of them"),
        (replace(chosen, memory=()), "leave one of them"),
        (replace(chosen, model=str(plain)), "no memory layer"),
        (replace(chosen, model="http://localhost:1/v1"), "no memory layer"),
    ):
        with pytest.raises(InputError, match=why):
            needs_corpus("memory", options)
            async with opened_pointing(loaded, options.memory, CORPUS, told):
                pass
    with pytest.raises(InputError, match="there is no generator"):
        async with generator_by_name("memories", NO_POOL, told, chosen):
            pass
