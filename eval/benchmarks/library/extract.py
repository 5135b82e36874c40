"""Makes the ``library`` benchmark from the premises of a Lean library."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.benchmarks.base import Split
from prover.lean.messages import Declaration
from prover.premises import PremiseCorpus

VERSION = "1"
SEED = 0
#: Of the modules, in percent.
VALID_SHARE, TEST_SHARE = 15, 15
#: Theorems kept of each of the two, and how many of them one module may give: a few modules on maps hold as
#: many theorems as all others together.
KEPT, KEPT_OF_A_MODULE = 500, 45

#: Names that Lean gives to instances.
_INSTANCE = re.compile(r"(?:^|\.)inst[A-Z]\w*$")


@dataclass(frozen=True, slots=True)
class LibraryTheorem:
    """A theorem that can be stated with what its module imports."""

    name: str
    module: str
    statement: str
    #: The module's place in import order: theorems of one module share it, since their order is not known.
    position: int


def candidates(corpus: PremiseCorpus) -> list[LibraryTheorem]:
    """Return what a person wrote and whose statement needs nothing of its own module, in import order."""
    home = {premise.name: premise.module for premise in corpus.premises}
    return [
        LibraryTheorem(p.name, p.module, f"theorem {p.name} : {p.type}", corpus.order[p.module])
        for p in corpus.premises
        if p.kind == "theorem" and not _INSTANCE.search(p.name) and _is_stated(p, corpus, home)
    ]


def _is_stated(premise: Declaration, corpus: PremiseCorpus, home: dict[str, str]) -> bool:
    accessible = corpus.accessible(premise.module)
    return all(_home(name, home) in accessible for name in premise.constants)


def _home(name: str, home: dict[str, str]) -> str | None:
    """The module of a constant; a generated one (``Eq.rec``) lives where its parent does."""
    while name not in home and "." in name:
        name = name.rpartition(".")[0]
    return home.get(name)


def split_of(module: str, seed: int = SEED) -> Split:
    """The split of a module: a matter of its name and the seed alone, so that a new module moves no other."""
    place = _draw(seed, "module", module) % 100
    if place < VALID_SHARE:
        return Split.VALID
    return Split.TEST if place < VALID_SHARE + TEST_SHARE else Split.TRAIN


def sample(theorems: Sequence[LibraryTheorem], seed: int = SEED) -> list[LibraryTheorem]:
    """Draw theorems at random, not too many of a module, and return them in import order."""
    drawn: list[LibraryTheorem] = []
    taken: Counter[str] = Counter()
    for theorem in sorted(theorems, key=lambda t: _draw(seed, "theorem", t.name)):
        if taken[theorem.module] < KEPT_OF_A_MODULE and len(drawn) < KEPT:
            taken[theorem.module] += 1
            drawn.append(theorem)
    return sorted(drawn, key=lambda t: (t.position, t.name))


def _draw(seed: int, *parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join((str(seed), *parts)).encode()).digest()[:8], "big")


def files_of(corpus: PremiseCorpus) -> dict[str, str]:
    """Return the benchmark's files, by name."""
    theorems = candidates(corpus)
    splits: dict[Split, list[LibraryTheorem]] = {split: [] for split in Split}
    for theorem in theorems:
        splits[split_of(theorem.module)].append(theorem)
    files = {f"{s}.jsonl": _lines(sample(splits[s])) for s in (Split.VALID, Split.TEST)}
    about = {
        "name": "library",
        "version": VERSION,
        "seed": SEED,
        "lean": corpus.lean,
        "theorems": sum(p.kind == "theorem" for p in corpus.premises),
        "stated_with_imports_alone": len(theorems),
        "splits": {split: _counts(splits[split]) for split in Split},
        "kept": KEPT,
        "kept_of_a_module": KEPT_OF_A_MODULE,
    }
    return files | {"benchmark.json": json.dumps(about, indent=2, ensure_ascii=False) + "\n"}


def _counts(theorems: Sequence[LibraryTheorem]) -> dict[str, Any]:
    return {"theorems": len(theorems), "modules": len(Counter(t.module for t in theorems))}


def _lines(theorems: Sequence[LibraryTheorem]) -> str:
    return "".join(json.dumps(asdict(t), ensure_ascii=False) + "\n" for t in theorems)


def write_files(corpus: PremiseCorpus, folder: Path) -> None:
    """Write the benchmark anew."""
    for name, text in files_of(corpus).items():
        (folder / name).write_text(text, encoding="utf-8")


def differing_files(corpus: PremiseCorpus, folder: Path) -> list[str]:
    """The names of the files that would be written otherwise."""
    files = files_of(corpus).items()
    return [name for name, text in files if not (folder / name).exists() or _read(folder / name) != text]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
