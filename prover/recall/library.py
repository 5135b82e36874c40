"""The library's memory: every declaration as a decoder's memory layer read it, once, and kept in the cache.

A folder for each model and Lean:

    <cache>/memory/<Lean>-<model>/
        library/        what the declarations of the library were read into
        library.json    of which Lean, and of what; written when all of it is in
        own/            what those of the user's own files were read into
        index.<kind>    over the library's keys, where building it takes long

Files and library are one memory: the library's entries come first.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from memory.building import Built, build
from memory.catalogue import MemoryKind, Passage
from memory.errors import MemoryInputError
from memory.external import ExternalMemory
from memory.index import EntryMask, KeyIndex, choose_kind, load_index, make_index
from memory.reading import Reader
from memory.store import MemoryStore
from memory.volume import JOURNAL
from prover.decoder.precision import fast_in_bfloat16
from prover.errors import InputError
from prover.lean.messages import Declaration
from prover.premises import PremiseCorpus, Report, by_module
from prover.recall.faults import as_prover_errors
from prover.recall.passages import document_of
from prover.theorem_file import write_atomically

if TYPE_CHECKING:
    import torch

    from memory.lookup import Memory
    from prover.decoder.checkpoint import LoadedModel
    from prover.decoder.codec import Codec

LIBRARY, OWN, COMPLETE = "library", "own", "library.json"
FORMAT = "library-memory 1"
#: Kinds of index that take so long to build that they are kept in a file.
_KEPT = frozenset(("hnsw", "ivf", "ivfpq"))
_BUILD = "prover memory build"
#: Views that are kept, each with a bit or more an entry.
_VIEWS = 32


# --- where it is ----------------------------------------------------------------------------------


def memory_folder(cache: Path, kind: MemoryKind, lean: str) -> Path:
    """Where a cache holds the memory of a Lean's library for a model."""
    version = re.sub(r"[^\w.]+", "-", lean)
    return cache / "memory" / f"{version}-{kind.model}"


def memory_folders(cache: Path) -> list[Path]:
    """All memories of libraries in a cache, whole or broken off."""
    return sorted(it for it in (cache / "memory").glob("*") if has_store(it / LIBRARY) or has_store(it / OWN))


def folder_of(cache: Path, kind: MemoryKind) -> Path:
    """The memory in a cache that is of this kind.

    Raises:
        InputError: there is none, or one for each of several Leans.
    """
    found = [it for it in memory_folders(cache) if it.name.endswith(f"-{kind.model}")]
    if not found:
        raise InputError(f"There is no memory for this model yet: build it with `{_BUILD}`.")
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise InputError(f"There are memories for several Leans, {names}: name one with --at.")
    return found[0]


def has_store(folder: Path) -> bool:
    """Say whether there is a store in a folder."""
    return (folder / JOURNAL).is_file()


def kind_of(loaded: LoadedModel) -> tuple[MemoryKind, Codec]:
    """What a model's memories must be of, and who writes its passages.

    Raises:
        InputError: the model has no memory layer, or a tokenizer of its own.
    """
    kind = loaded.memory_kind
    if kind is None:
        raise InputError(
            f"{loaded.name} has no memory layer: name a checkpoint that has one with --model "
            "(memory.modeling.attach gives one to a Llama, Qwen2 or Qwen3)."
        )
    if loaded.codec is None:
        raise InputError(
            f"{loaded.name} has a tokenizer of its own, which does not know the marks of what is remembered: "
            "fine-tune it with `prover train --from`."
        )
    return kind, loaded.codec


# --- building it ----------------------------------------------------------------------------------


def build_library(loaded: LoadedModel, corpus: PremiseCorpus, folder: Path, report: Report) -> Built:
    """Read a library's declarations, in import order, as far as they are not in the folder's memory.

    A build that was broken off goes on where it was; declarations that are no longer there are dropped.

    Args:
        folder: see :func:`memory_folder`; it is made.
        report: takes (text, done, total), in modules.

    Raises:
        InputError: the model has no memory layer, or the folder's memory is another model's, or damaged.
        ModelUnavailable: the disk is full or fails, or another process builds.
    """
    kind, codec = kind_of(loaded)
    report("Preparing the library's declarations", 0, 0)
    documents = [document_of(codec, module.name, declared) for module, declared in by_module(corpus)]
    with as_prover_errors(), _writable(folder / LIBRARY, kind) as store:
        text = "Reading the library into memory"
        built = build(store, _reader(loaded), documents, lambda done, of: report(text, done, of), prune=True)
        report("Building the index", 0, 0)
        _keep_index(store, folder)
        head = {"format": FORMAT, "lean": corpus.lean, "content": content_of([store])}
    write_atomically(folder / COMPLETE, json.dumps(head).encode())
    return built


def add_files(
    loaded: LoadedModel, files: Mapping[str, Sequence[Declaration]], folder: Path, report: Report
) -> Built:
    """Read what files of the user's declare, as far as it is not there; other files' stay.

    Args:
        files: declarations by the file's module name; a file takes the place of an earlier one of its name.
        folder: as for :func:`build_library`, whose library need not be there yet.

    Raises:
        InputError, ModelUnavailable: as :func:`build_library`.
    """
    kind, codec = kind_of(loaded)
    documents = [document_of(codec, module, declared) for module, declared in files.items()]
    with as_prover_errors(), _writable(folder / OWN, kind) as store:
        text = "Reading files into memory"
        return build(store, _reader(loaded), documents, lambda done, of: report(text, done, of))


def _writable(folder: Path, kind: MemoryKind) -> MemoryStore:
    if has_store(folder):
        return MemoryStore.open(folder, kind, writable=True)
    return MemoryStore.create(folder, kind)


def _reader(loaded: LoadedModel) -> Reader:
    return Reader(loaded.model, loaded.max_context, fast=fast_in_bfloat16(loaded.model.device))


def _keep_index(store: MemoryStore, folder: Path) -> None:
    """Build the index that a processor looks up in, where that takes long and its file is not there."""
    kind = choose_kind(len(store))
    if kind not in _KEPT:
        return
    path, keys = folder / f"index.{kind}", np.moveaxis(store.keys, 1, 0)
    try:
        load_index(path, kind, keys)
    except MemoryInputError:
        # It is missing, torn, or of what the store held before.
        index = make_index(kind, store.kind.heads, store.kind.width)
        index.add(keys)
        index.save(path)


def content_of(stores: Iterable[MemoryStore]) -> str:
    """16 hex digits of what stores hold: their kind, and the digests of their modules."""
    held = [(str(store.kind), sorted(store.done.items())) for store in stores]
    return hashlib.sha256(repr(held).encode()).hexdigest()[:16]


def completed(folder: Path) -> dict[str, Any]:
    """What the last complete build wrote down: ``format``, ``lean`` and ``content``; {} if there is none."""
    try:
        head: dict[str, Any] = json.loads((folder / COMPLETE).read_bytes())
    except (OSError, ValueError):
        return {}
    return head if head.get("format") == FORMAT else {}


# --- using it -------------------------------------------------------------------------------------


class LibraryMemory:
    """The library's memory, and with it that of the user's own files, open for look-ups.

    To be used with ``with``, or closed. Threads may look up and ask for views side by side.
    """

    def __init__(self, stores: Sequence[MemoryStore], memory: ExternalMemory) -> None:
        """For :meth:`open`. The memory has the stores' entries, one store after the other."""
        self._stores = tuple(stores)
        self._memory = memory
        self._lock = Lock()
        self._views: OrderedDict[frozenset[str], Memory] = OrderedDict()

    @classmethod
    def open(cls, folder: Path, kind: MemoryKind, device: torch.device | str = "cpu") -> Self:
        """Open a memory that was built; rows stay on the disk, except for a GPU.

        Args:
            kind: of the model that is to read it, see :func:`kind_of`.
            device: of the model.

        Raises:
            InputError: there is none, it is another model's, it was not built to its end, or is damaged.
            ModelUnavailable: the disk fails, or the GPU's memory does not suffice.
        """
        if not has_store(folder / LIBRARY):
            raise InputError(f"There is no memory of the library in {folder}: build it with `{_BUILD}`.")
        with as_prover_errors(), ExitStack() as stack:
            parts = [part for part in (LIBRARY, OWN) if has_store(folder / part)]
            stores = [stack.enter_context(MemoryStore.open(folder / part, kind)) for part in parts]
            _check_complete(folder, stores[0])
            library, *others = stores
            index = _index(library, folder, device)
            memory = ExternalMemory(index, library.keys, library.values, device, library.tokens)
            for store in others:
                memory.extend(store.keys, store.values, store.tokens)
            stack.pop_all()
        return cls(stores, memory)

    def close(self) -> None:
        """Let go of the files. Views that were handed out stay as they are."""
        for store in self._stores:
            store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Entries."""
        return len(self._memory)

    @cached_property
    def modules(self) -> frozenset[str]:
        """Those of which anything is remembered."""
        return frozenset[str]().union(*(store.modules for store in self._stores))

    def modules_below(self, names: Iterable[str]) -> frozenset[str]:
        """The modules of these names, and those that are called ``name.`` and more.

        Raises:
            InputError: nothing is remembered under a name.
        """
        found: set[str] = set()
        for name in names:
            below = {it for it in self.modules if it == name or it.startswith(f"{name}.")}
            if not below:
                raise InputError(f"Nothing is remembered of a module {name}, nor of any below it.")
            found |= below
        return frozenset(found)

    @cached_property
    def content_hash(self) -> str:
        """16 hex digits: of what is remembered, and how it is looked up."""
        parts = (content_of(self._stores), self._memory.index.name)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def view(self, modules: frozenset[str] | None) -> Memory:
        """What is remembered of some modules; None: of all. The same modules have the same object.

        Only so many views are kept: one that was not asked for in a while is made anew.
        """
        if modules is None or modules >= self.modules:
            return self._memory
        with self._lock:
            view = self._views.pop(modules, None) or self._limited(modules)
            self._views[modules] = view
            if len(self._views) > _VIEWS:
                self._views.popitem(last=False)
        return view

    def _limited(self, modules: frozenset[str]) -> Memory:
        masks = [store.mask(modules) for store in self._stores]
        return self._memory.view(EntryMask(np.concatenate(masks)))

    def name_of(self, entry: int) -> str:
        """The declaration that an entry of a view belongs to."""
        return self.passage_of(entry)[0].name

    def passage_of(self, entry: int) -> tuple[Passage, int]:
        """The passage that an entry of a view belongs to, and which of its tokens it is.

        Raises:
            IndexError: there is no such entry.
        """
        for store in self._stores[:-1]:
            if entry < len(store):
                return store.passage_at(entry)
            entry -= len(store)
        return self._stores[-1].passage_at(entry)


def _check_complete(folder: Path, library: MemoryStore) -> None:
    if completed(folder).get("content") != content_of([library]):
        raise InputError(
            f"The memory of the library in {folder} was not built to its end: `{_BUILD}` goes on with it."
        )


def _index(library: MemoryStore, folder: Path, device: torch.device | str) -> KeyIndex | str:
    """The index of the library's keys; where it takes no time to make, its kind."""
    kind = choose_kind(len(library), device)
    if kind not in _KEPT:
        return kind
    try:
        return load_index(folder / f"index.{kind}", kind, np.moveaxis(library.keys, 1, 0))
    except MemoryInputError as error:
        raise InputError(f"{error} `{_BUILD}` does so.") from error
