"""The library's memory: where it lies, how it is built, and who may see what of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from memory.building import Built
from memory.catalogue import MemoryKind
from memory.lookup import Memory
from memory.store import MemoryStore
from prover.decoder.checkpoint import LoadedModel, load_checkpoint
from prover.errors import InputError, ModelUnavailable
from prover.recall import library as module
from prover.recall.library import (
    COMPLETE,
    LIBRARY,
    LibraryMemory,
    add_files,
    build_library,
    completed,
    folder_of,
    kind_of,
    memory_folder,
    memory_folders,
)
from prover.recall.looking import look
from prover.recall.passages import DECLARATION
from tests.decoder.tiny import tiny_checkpoint, tiny_foreign
from tests.recall.toy import CORPUS, PREMISES, loaded_memorizing, theorem, with_premises

torch.set_num_threads(1)

#: What is remembered of the toy library, in order.
NAMES = ["Nat.add_comm", "symm", "trans", "Nat"]
FILES = {"My.File": [theorem("mine", "My.File", "p → p")]}


def quiet(text: str, done: int, total: int) -> None:
    pass


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return loaded_memorizing(tmp_path_factory.mktemp("model"))


@pytest.fixture
def kind(loaded: LoadedModel) -> MemoryKind:
    return kind_of(loaded)[0]


@pytest.fixture
def folder(tmp_path: Path, kind: MemoryKind) -> Path:
    return memory_folder(tmp_path / "cache", kind, CORPUS.lean)


@pytest.fixture
def library(loaded: LoadedModel, folder: Path, kind: MemoryKind) -> Iterator[LibraryMemory]:
    build_library(loaded, CORPUS, folder, quiet)
    add_files(loaded, FILES, folder, quiet)
    with LibraryMemory.open(folder, kind) as opened:
        yield opened


def names_in(library: LibraryMemory, view: Memory) -> set[str]:
    """All that a look-up can find."""
    queries = torch.nn.functional.normalize(torch.ones(2, 1, 8), dim=-1)
    entries = view.look_up(queries, 1000).entries
    return {library.passage_of(entry)[0].name for entry in entries.flatten().tolist() if entry >= 0}


# --- where it is ----------------------------------------------------------------------------------


def test_each_model_and_lean_has_a_folder(tmp_path: Path, kind: MemoryKind) -> None:
    other = MemoryKind("f" * 16, kind.layer, kind.heads, kind.width)
    found = [memory_folder(tmp_path, it, lean) for it in (kind, other) for lean in ("4.0, commit a", "4.1")]
    assert len(set(found)) == 4
    assert all(it.parent == tmp_path / "memory" for it in found)
    assert found[0].name == f"4.0-commit-a-{kind.model}"


def test_the_folder_of_a_model_is_found(tmp_path: Path, kind: MemoryKind) -> None:
    with pytest.raises(InputError, match=r"no memory for this model yet.*prover memory build"):
        folder_of(tmp_path, kind)
    other = MemoryKind("f" * 16, kind.layer, kind.heads, kind.width)
    for it, lean in ((kind, "4.0"), (other, "4.0"), (kind, "4.1")):
        MemoryStore.create(memory_folder(tmp_path, it, lean) / LIBRARY, it).close()
        if lean == "4.0":
            assert folder_of(tmp_path, it) == memory_folder(tmp_path, it, "4.0")
    assert len(memory_folders(tmp_path)) == 3
    with pytest.raises(InputError, match=r"several Leans.*--at"):
        folder_of(tmp_path, kind)


# --- building -------------------------------------------------------------------------------------


def test_a_library_is_read_in_import_order(loaded: LoadedModel, folder: Path, kind: MemoryKind) -> None:
    told: list[tuple[str, int, int]] = []
    built = build_library(loaded, CORPUS, folder, lambda *it: told.append(it))
    assert built == Built(read=4, kept=0, dropped=0)
    assert told[-2] == ("Reading the library into memory", 4, 4)
    with MemoryStore.open(folder / LIBRARY, kind) as store:
        assert [it.name for it in store.passages] == NAMES
        assert [it.module for it in store.passages] == ["A", "A.Sub", "B", "B"]
        assert {it.kind for it in store.passages} == {DECLARATION}
        store.verify()
    assert completed(folder)["lean"] == CORPUS.lean
    assert build_library(loaded, CORPUS, folder, quiet) == Built(read=0, kept=4, dropped=0)


def test_another_library_takes_its_place(loaded: LoadedModel, folder: Path, kind: MemoryKind) -> None:
    build_library(loaded, CORPUS, folder, quiet)
    smaller = with_premises(*PREMISES[:3], theorem("new", "B", "p"))
    assert build_library(loaded, smaller, folder, quiet) == Built(read=1, kept=3, dropped=1)
    with LibraryMemory.open(folder, kind) as library:
        assert names_in(library, library.view(None)) == {"Nat.add_comm", "symm", "new"}


def test_one_that_was_broken_off_is_not_used(
    loaded: LoadedModel, folder: Path, kind: MemoryKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"no memory of the library.*prover memory build"):
        LibraryMemory.open(folder, kind)
    build_library(loaded, CORPUS, folder, quiet)
    with monkeypatch.context() as patched:
        patched.setattr(module, "_keep_index", stop)
        with pytest.raises(KeyboardInterrupt):
            build_library(loaded, with_premises(*PREMISES[:3]), folder, quiet)
    with pytest.raises(InputError, match=r"not built to its end.*prover memory build.*goes on"):
        LibraryMemory.open(folder, kind)
    assert build_library(loaded, with_premises(*PREMISES[:3]), folder, quiet).read == 0
    LibraryMemory.open(folder, kind).close()


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_files_are_added_to_what_is_there(loaded: LoadedModel, folder: Path, kind: MemoryKind) -> None:
    assert add_files(loaded, FILES, folder, quiet) == Built(1, 0, 0)
    with pytest.raises(InputError, match="no memory of the library"):
        LibraryMemory.open(folder, kind)
    build_library(loaded, CORPUS, folder, quiet)
    changed = {"My.File": [theorem("other", "My.File", "q")]}
    more = {"My.Second": [theorem("second", "My.Second", "r")]}
    assert add_files(loaded, more, folder, quiet) == Built(1, 0, 0)
    assert add_files(loaded, changed | more, folder, quiet) == Built(read=1, kept=1, dropped=1)
    with LibraryMemory.open(folder, kind) as library:
        assert names_in(library, library.view(None)) == {*NAMES, "other", "second"}


def test_a_model_without_a_memory_layer_is_refused(tmp_path: Path) -> None:
    for make, said in ((tiny_checkpoint, "has no memory layer"), (tiny_foreign, "has no memory layer")):
        (tmp_path / said / make.__name__).mkdir(parents=True)
        plain = load_checkpoint(str(make(tmp_path / said / make.__name__)), "cpu")
        with pytest.raises(InputError, match=said):
            build_library(plain, CORPUS, tmp_path / "m", quiet)
    assert not (tmp_path / "m").exists()


def test_the_memory_of_another_model_is_refused(
    loaded: LoadedModel, folder: Path, kind: MemoryKind, tmp_path: Path
) -> None:
    build_library(loaded, CORPUS, folder, quiet)
    other = loaded_memorizing(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match=f"is of model {kind.model}"):
        LibraryMemory.open(folder, kind_of(other)[0])
    with pytest.raises(InputError, match=f"is of model {kind.model}"):
        build_library(other, CORPUS, folder, quiet)


def test_two_builds_at_once_are_refused(loaded: LoadedModel, folder: Path, kind: MemoryKind) -> None:
    with (
        MemoryStore.create(folder / LIBRARY, kind),
        pytest.raises(ModelUnavailable, match="Another process writes"),
    ):
        build_library(loaded, CORPUS, folder, quiet)


# --- the index's file -----------------------------------------------------------------------------


@pytest.fixture
def approximate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "choose_kind", lambda entries, device="cpu": "ivf")


@pytest.mark.usefixtures("approximate")
def test_the_index_lies_beside_the_store(loaded: LoadedModel, folder: Path, kind: MemoryKind) -> None:
    build_library(loaded, CORPUS, folder, quiet)
    path = folder / "index.ivf"
    written = path.read_bytes()
    for damage in (lambda: path.unlink(), lambda: path.write_bytes(written[:-3] + b"abc")):
        damage()
        with pytest.raises(InputError, match=r"Build it anew. `prover memory build` does so"):
            LibraryMemory.open(folder, kind)
        build_library(loaded, CORPUS, folder, quiet)
        assert path.read_bytes() == written
    build_library(loaded, with_premises(*PREMISES[:3]), folder, quiet)
    assert path.read_bytes() != written
    with LibraryMemory.open(folder, kind) as library:
        assert names_in(library, library.view(None)) == {"Nat.add_comm", "symm"}


@pytest.mark.usefixtures("approximate")
def test_an_index_that_is_there_is_not_built_again(
    loaded: LoadedModel, folder: Path, kind: MemoryKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_library(loaded, CORPUS, folder, quiet)
    add_files(loaded, FILES, folder, quiet)
    monkeypatch.setattr(module, "make_index", stop)
    build_library(loaded, CORPUS, folder, quiet)
    with LibraryMemory.open(folder, kind) as library:
        assert names_in(library, library.view(None)) == {*NAMES, "mine"}


def test_keys_and_values_stay_on_the_disk(library: LibraryMemory) -> None:
    assert library._memory._values.nbytes == 0
    assert library._memory.index.rows.nbytes == 0


# --- views ----------------------------------------------------------------------------------------


def test_a_view_shows_what_is_accessible(library: LibraryMemory) -> None:
    for wanted, names in (
        ({"A"}, {"Nat.add_comm"}),
        ({"A", "B", "Elsewhere"}, {"Nat.add_comm", "trans", "Nat"}),
        ({"My.File"}, {"mine"}),
        (set(), set()),
    ):
        view = library.view(frozenset(wanted))
        assert names_in(library, view) == names
        assert (len(view) == 0) == (not names)
    assert names_in(library, library.view(CORPUS.accessible("C"))) == set(NAMES)
    assert names_in(library, library.view(None)) == {*NAMES, "mine"}
    assert library.modules == {"A", "A.Sub", "B", "My.File"}


def test_the_same_modules_have_the_same_object(
    library: LibraryMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_VIEWS", 2)
    view = library.view(frozenset({"A"}))
    assert library.view(frozenset({"A"})) is view
    assert library.view(frozenset({"B"})) is not view
    assert library.view(None) is library.view(library.modules) is library.view(library.modules | {"More"})
    # The one that was not asked for the longest goes first.
    library.view(frozenset({"A"}))
    library.view(frozenset({"A.Sub"}))
    assert library.view(frozenset({"A"})) is view
    library.view(frozenset({"B"}))
    library.view(frozenset({"A.Sub"}))
    assert library.view(frozenset({"A"})) is not view


def test_entries_have_their_passages(library: LibraryMemory, loaded: LoadedModel) -> None:
    codec, texts = kind_of(loaded)[1], dict[str, list[int]]()
    for entry in range(len(library)):
        passage, place = library.passage_of(entry)
        texts.setdefault(passage.name, []).append(passage.tokens[place])
    assert list(texts) == [*NAMES, "mine"]
    assert codec.decode(texts["mine"]) == "<TACTIC>exact mine<END>"
    with pytest.raises(IndexError):
        library.passage_of(len(library))


def test_modules_below_a_name(library: LibraryMemory) -> None:
    assert library.modules_below(["A"]) == {"A", "A.Sub"}
    assert library.modules_below(["A.Sub", "My"]) == {"A.Sub", "My.File"}
    with pytest.raises(InputError, match="of a module C, nor"):
        library.modules_below(["A", "C"])


def test_the_hash_is_of_what_is_remembered(loaded: LoadedModel, folder: Path, kind: MemoryKind) -> None:
    def opened_hash() -> str:
        with LibraryMemory.open(folder, kind) as library:
            return library.content_hash

    build_library(loaded, CORPUS, folder, quiet)
    first = opened_hash()
    assert len(first) == 16 and opened_hash() == first
    add_files(loaded, FILES, folder, quiet)
    second = opened_hash()
    build_library(loaded, with_premises(*PREMISES[:3]), folder, quiet)
    assert len({first, second, opened_hash()}) == 3


def test_views_outlive_the_store(library: LibraryMemory) -> None:
    view, before = library.view(frozenset({"A"})), library.view(None)
    library.close()
    queries = torch.nn.functional.normalize(torch.ones(2, 1, 8), dim=-1)
    assert view.look_up(queries, 1).found.all() and before.look_up(queries, 1).found.all()


@pytest.mark.parametrize("content", [b"", b"{", json.dumps({"format": "other"}).encode()])
def test_a_note_that_is_no_note_counts_for_nothing(
    loaded: LoadedModel, folder: Path, kind: MemoryKind, content: bytes
) -> None:
    build_library(loaded, CORPUS, folder, quiet)
    (folder / COMPLETE).write_bytes(content)
    assert completed(folder) == {}
    with pytest.raises(InputError, match="not built to its end"):
        LibraryMemory.open(folder, kind)


# --- what is looked up ----------------------------------------------------------------------------


def test_what_a_goal_looks_up(library: LibraryMemory, loaded: LoadedModel) -> None:
    found = look(loaded, library, "x y : α\nh : x = y\n⊢ y = x")
    assert [head.number for head in found.heads] == [0, 1, 2, 3]
    for head in found.heads:
        assert len(head.hits) == 4  # as the model's configuration says
        assert sum(hit.weight for hit in head.hits) == pytest.approx(1.0, abs=1e-5)
        cosines = [hit.cosine for hit in head.hits]
        assert cosines == sorted(cosines, reverse=True)
        assert head.share == pytest.approx(torch.tensor(1.0).sigmoid().item())
    assert sum(weight for _, weight in found.names) == pytest.approx(4.0, abs=1e-4)
    assert {name for name, _ in found.names} <= {*NAMES, "mine"}
    only = look(loaded, library, "y = x", modules=frozenset({"A.Sub"}))
    assert [name for name, _ in only.names] == ["symm"]


@torch.inference_mode()
def test_the_looked_up_is_what_the_layer_reads(library: LibraryMemory, loaded: LoadedModel) -> None:
    """Weights and values by hand give what the layer puts out, head by head."""
    outputs: list[Any] = []
    model: Any = loaded.model
    layer = model.model.layers[1].self_attn
    handle = layer.o_proj.register_forward_pre_hook(lambda _, args: outputs.append(args[0]))
    before = layer.memory_gate.data.clone()
    layer.memory_gate.data.fill_(1e4)  # the memory alone is heard
    try:
        found = look(loaded, library, "y = x")
    finally:
        layer.memory_gate.data.copy_(before)
        handle.remove()
    values = torch.cat([torch.from_numpy(store.values.astype("float32")) for store in library._stores])
    read = outputs[0][0, -1].view(4, 8)
    for head in found.heads:
        # Two heads share a key/value head.
        parts = [hit.weight * values[hit.entry, head.number // 2] for hit in head.hits]
        torch.testing.assert_close(read[head.number], torch.stack(parts).sum(dim=0), atol=1e-3, rtol=1e-3)
        for hit in head.hits:
            passage, place = library.passage_of(hit.entry)
            assert (hit.name, hit.module, hit.kind) == (passage.name, passage.module, passage.kind)
            assert hit.token == kind_of(loaded)[1].decode([passage.tokens[place]])


def test_nothing_to_look_up(library: LibraryMemory, loaded: LoadedModel) -> None:
    with pytest.raises(InputError, match="Nothing is remembered of these modules"):
        look(loaded, library, "p", modules=frozenset({"Elsewhere"}))
    with pytest.raises(InputError, match=r"has \d+ tokens with its tactic, and .* takes 256"):
        look(loaded, library, "p " * 300, "exact")
    assert look(loaded, library, "p " * 300).names, "of a long goal the end is asked about"
