"""What a decoder's memory is worth: perplexity by its size, and new facts that are named.

    prover memory build --model MODEL
    python benchmarks/memory_figures.py MODEL [--sizes 0 1024 8192 65536 all] [--facts 100]

The corpus and the share of modules held out are those that the model was trained with (its training.json).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from memory.copying import CopyRule
from memory.external import ExternalMemory, UnionMemory
from memory.index import EntryMask
from memory.lookup import Memory
from memory.store import MemoryStore
from prover.decoder.checkpoint import LoadedModel, load_checkpoint
from prover.lean.messages import Declaration
from prover.premises import PremiseCorpus
from prover.recall.library import LIBRARY, kind_of, memory_folder
from prover.recall.pointing import Source
from prover.settings import settings
from prover.training.copying import fit, seen, set_rule
from prover.training.dataset import RowMaker, divided
from prover.training.episodes import Episodes, Story, stories
from prover.training.examples import SHIPPED, read_corpus
from prover.training.lessons import lessons
from prover.training.memory_figures import (
    Fact,
    LibraryOf,
    Told,
    by_words,
    made_up,
    memory_of,
    naming,
    perplexities,
    pointed,
    renamed_facts,
    turns,
)
from prover.training.recipe import Recipe
from prover.training.train import library_of, read_record

#: Entries of the library in memory when it is fitted how much is copied.
FITTED_WITH = (1024, 65_536)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=SHIPPED)
    parser.add_argument("--sizes", nargs="*", default=["0", "1024", "8192", "65536", "all"])
    parser.add_argument("--facts", type=int, default=100, metavar="N")
    parser.add_argument("--lessons", type=int, default=40, metavar="N", help="of a module, at most")
    parser.add_argument("--fit", action="store_true", help="fit how much is copied")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    loaded = load_checkpoint(str(asked.model), "cpu", "float32")
    corpus = read_corpus(asked.data)
    library = library_of(None, corpus.lean)
    folder = memory_folder(settings().cache, kind_of(loaded)[0], corpus.lean)
    with MemoryStore.open(folder / LIBRARY, kind_of(loaded)[0]) as store:
        print(f"{asked.model}: {len(store)} entries of {len(store.modules)} modules")
        memory = ExternalMemory(None, store.keys, store.values, tokens=store.tokens)
        told = _held_out(loaded, asked, library)
        rule, known = CopyRule.of(loaded.model.config), _library_of(memory, store, library)
        if asked.fit:
            _fit_table(loaded, told, known)
        for title, copying in (("heard", None), ("heard and copied", rule)):
            set_rule(loaded.model, copying)
            _perplexity_table(loaded, title, told, known, asked.sizes)
        if asked.facts:
            unseen = {it.module for it in told}
            theorems = [it for it in library.premises if it.module in unseen]
            others = [it for it in library.premises if it.module not in unseen]
            rest = memory.view(EntryMask(store.mask({it.module for it in others})))
            source = Source(rest, lambda entry: store.passage_at(entry)[0].name)
            for title, facts in (
                ("held-out theorems, renamed", renamed_facts(theorems, asked.facts, asked.seed)),
                ("facts made up of syllables", made_up(asked.facts, asked.seed)),
            ):
                _pointed_table(loaded, source, title, facts, others)
                asyncio.run(_facts_table(loaded, rest, title, facts, library.premises))


def _held_out(loaded: LoadedModel, asked: argparse.Namespace, library: PremiseCorpus) -> list[Told]:
    """Held-out modules, each as a document of its own."""
    record, corpus = read_record(asked.model), read_corpus(asked.data)
    assert record is not None and loaded.codec is not None, "a checkpoint of our training"
    recipe = Recipe(**{**record["recipe"], "shape": None})
    _, proofs = divided(corpus.proofs, recipe.held_out, recipe.seed)
    maker = RowMaker(loaded.codec, min(recipe.length, loaded.max_context))
    chance = random.Random(asked.seed)
    told = []
    taught = sorted(lessons(proofs, corpus.failures), key=lambda it: (it.proof.position, it.proof.module))
    for module, group in groupby(taught, key=lambda it: it.proof.module):
        every = list(group)
        few = chance.sample(every, min(asked.lessons, len(every)))
        rows = [
            row
            for story in stories(few, library)
            for part in Episodes(maker, [story], 1, asked.seed, renames=0.0).told(_own(story, module), chance)
            for kind_of_row in part
            for row in kind_of_row
        ]
        kinds = [tuple(row for row in rows if row.kind == kind) for kind in ("declarations", "lessons")]
        told.append(Told(module, *kinds))
    print(
        f"held out: {len(told)} modules, {sum(len(it.declared) for it in told)} declarations, "
        f"{sum(len(it.lessons) for it in told)} states"
    )
    return told


def _own(story: Story, module: str) -> Story:
    """What the module itself declares; all else is in the library's memory."""
    return replace(story, declared=tuple(d for d in story.declared if d.module == module))


def _library_of(memory: ExternalMemory, store: MemoryStore, library: PremiseCorpus) -> LibraryOf:
    def found(module: str, size: int) -> Memory | None:
        mask = store.mask(library.accessible(module))
        places = np.flatnonzero(mask)
        mask[places[: max(0, len(places) - size)]] = False
        return memory.view(EntryMask(mask)) if mask.any() else None

    return found


def _fit_table(loaded: LoadedModel, told: list[Told], library: LibraryOf) -> None:
    """Fit how much is copied, and measure it on the modules that it was not fitted to."""
    assert loaded.codec is not None
    pad_id = loaded.codec.pad_id
    even, odd = told[::2], told[1::2]
    for title, fitted, others in (("half", even, odd), ("other half", odd, even), ("all", told, [])):
        set_rule(loaded.model, None)
        few, many = (
            seen(loaded.model, turns(loaded.model, fitted, library, size, pad_id)) for size in FITTED_WITH
        )
        rule = fit(few + many)
        line = f"{title:>12}: {rule}"
        if others:
            plain = perplexities(loaded.model, turns(loaded.model, others, library, 0, pad_id))
            set_rule(loaded.model, rule)
            for size in FITTED_WITH:
                found = perplexities(loaded.model, turns(loaded.model, others, library, size, pad_id))
                both = (f"{kind} {plain[kind]:.3f} -> {found[kind]:.3f}" for kind in found)
                line += f"\n{size:>14} entries, the other modules: {', '.join(both)}"
        print(line, flush=True)


def _perplexity_table(
    loaded: LoadedModel, title: str, told: list[Told], library: LibraryOf, sizes: list[str]
) -> None:
    assert loaded.codec is not None
    print(f"{title}\n{'entries':>9}{'declarations':>14}{'tactics':>9}{'seconds':>9}")
    for size in sizes:
        start = time.monotonic()
        entries = 1 << 30 if size == "all" else int(size)
        found = perplexities(loaded.model, turns(loaded.model, told, library, entries, loaded.codec.pad_id))
        seconds = time.monotonic() - start
        line = f"{size:>9}{found['declarations']:>14.3f}{found['lessons']:>9.3f}{seconds:>9.1f}"
        print(line, flush=True)


def _pointed_table(
    loaded: LoadedModel, library: Source, title: str, facts: Sequence[Fact], others: Sequence[Declaration]
) -> None:
    print(f"{len(facts)} {title}:       found foremost   among ten")
    for name, found in (
        ("the facts in memory", pointed(loaded, facts, None)),
        ("and what else the library has", pointed(loaded, facts, library)),
        ("by constants and words (BM25)", by_words(facts, others)),
    ):
        print(f"{name:>40}{found.at_1:>15.1%}{found.at_10:>12.1%}", flush=True)


async def _facts_table(
    loaded: LoadedModel,
    library: Memory,
    title: str,
    facts: Sequence[Fact],
    premises: Sequence[Declaration],
) -> None:
    own = memory_of(loaded, facts)
    asked: dict[str, tuple[Memory | None, int]] = {
        "nothing": (None, 0),
        "the library in memory": (library, 0),
        "the facts in memory": (own, 0),
        "both in memory": (UnionMemory([library, own]), 0),
        "8 of the facts in the prompt": (None, 8),
        "these, and the facts in memory": (own, 8),
    }
    print(f"{len(facts)} {title}:       named foremost   among ten")
    for name, (memory, shown) in asked.items():
        for kind, known in (("free", ()), ("guided", premises)):
            found = await naming(loaded, facts, memory, library=known, shown=shown)
            print(f"{name:>32} {kind:<8}{found.at_1:>15.1%}{found.at_10:>12.1%}", flush=True)


if __name__ == "__main__":
    main()
