"""From a loaded model to what it remembers: the memories that were asked for, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from memory.catalogue import MemoryKind
from memory.reading import Reader
from prover.decoder.checkpoint import LoadedModel
from prover.decoder.options import FAILURES, FILE, LIBRARY, STEPS
from prover.errors import InputError
from prover.premises import PremiseCorpus, Report
from prover.recall.experience import Experience, open_store
from prover.recall.library import LibraryMemory, build_library, completed, kind_of, memory_folder
from prover.recall.own import OwnDeclarations
from prover.recall.pointing import Pointer, Pointing
from prover.recall.source import Recall
from prover.settings import settings


@asynccontextmanager
async def opened_recall(
    loaded: LoadedModel,
    memories: Collection[str],
    corpus: PremiseCorpus | None,
    report: Report,
    remember: Path | None = None,
) -> AsyncIterator[Recall]:
    """Put together what a model remembers; at the end, what is kept across runs is written.

    Args:
        memories: of :data:`prover.decoder.options.MEMORIES`.
        corpus: the library's declarations, with ``library``: read the first time, which takes minutes.
        remember: the folder of what is kept across runs of steps and failures; None: nothing is.

    Raises:
        InputError: the model has no memory layer, or a folder's memory is of another model.
        ModelUnavailable: the disk is full or fails, or another process writes.
    """
    kind, codec = kind_of(loaded)
    # In the model's own type, unlike the library: there is little to read, and keys are then as it asks.
    reader, device = Reader(loaded.model, loaded.max_context), loaded.model.device
    with ExitStack() as holding:
        library = None
        if LIBRARY in memories:
            library = holding.enter_context(await _library(loaded, kind, corpus, report))
        own = OwnDeclarations(codec, reader, device) if FILE in memories else None
        experience = None
        if kinds := {STEPS, FAILURES} & set(memories):
            store = open_store(remember, kind) if remember is not None else None
            experience = Experience(codec, reader, kinds, device, store)
        recall = Recall(library, own, experience)
        try:
            yield recall
        finally:
            await recall.close()


@asynccontextmanager
async def opened_pointing(
    loaded: LoadedModel, memories: Collection[str] | None, corpus: PremiseCorpus, report: Report
) -> AsyncIterator[Pointing]:
    """Make the generator that names what a model's memory finds.

    Args:
        memories: see :func:`opened_recall`; of steps and failures nothing is named. None: the file, and the
            library if it has been read already.

    Raises:
        InputError, ModelUnavailable: as :func:`opened_recall`.
    """
    pointer, (kind, _) = Pointer(loaded), kind_of(loaded)
    if memories is None:
        memories = (LIBRARY, FILE) if _is_built(kind, corpus) else (FILE,)
        if LIBRARY not in memories:
            report("The library is not in memory: `prover memory build` reads it, in some minutes", 0, 0)
    with ExitStack() as holding:
        library = None
        if LIBRARY in memories:
            library = holding.enter_context(await _library(loaded, kind, corpus, report))
        own = None
        if FILE in memories:
            own = OwnDeclarations(pointer.codec, pointer.reader, loaded.model.device)
        yield Pointing(corpus, pointer, library, own)


async def _library(
    loaded: LoadedModel, kind: MemoryKind, corpus: PremiseCorpus | None, report: Report
) -> LibraryMemory:
    """Open the library's memory; where there is none yet, it is built."""
    if corpus is None:
        raise InputError("this decoder remembers the library's declarations: read them first, once")
    folder = memory_folder(settings().cache, kind, corpus.lean)
    if not _is_built(kind, corpus):
        await asyncio.to_thread(build_library, loaded, corpus, folder, _from_thread(report))
    return await asyncio.to_thread(LibraryMemory.open, folder, kind, loaded.model.device)


def _is_built(kind: MemoryKind, corpus: PremiseCorpus) -> bool:
    """Whether all of a library has been read."""
    folder = memory_folder(settings().cache, kind, corpus.lean)
    return bool(completed(folder).get("lean") == corpus.lean)


def _from_thread(report: Report) -> Report:
    """A report for another thread, that is told in this one."""
    loop = asyncio.get_running_loop()

    def told(text: str, done: int, total: int) -> None:
        loop.call_soon_threadsafe(report, text, done, total)

    return told
