"""A toy library, and a checkpoint that has a memory layer."""

from __future__ import annotations

from pathlib import Path

from prover.decoder.checkpoint import LoadedModel, load_checkpoint
from prover.lean.messages import Declaration, Module
from prover.premises import PremiseCorpus
from tests.decoder.tiny import tiny_memorizing

MODULES = (Module("A", ()), Module("A.Sub", ("A",)), Module("B", ("A",)), Module("C", ("A.Sub", "B")))


def theorem(name: str, module: str, type_: str, kind: str = "theorem") -> Declaration:
    return Declaration(name, kind, module, type_, ())


PREMISES = (
    theorem("Nat.add_comm", "A", "∀ a b : Nat, a + b = b + a"),
    theorem("Nat.rec", "A", "Nat", "recursor"),
    theorem("symm", "A.Sub", "x = y → y = x"),
    theorem("trans", "B", "x = y → y = z → x = z"),
    theorem("Nat", "B", "Type", "inductive"),
)
CORPUS = PremiseCorpus("4.0.0, commit abc", MODULES, PREMISES)


def with_premises(*premises: Declaration) -> PremiseCorpus:
    return PremiseCorpus(CORPUS.lean, MODULES, premises)


def loaded_memorizing(folder: Path, seed: int = 0) -> LoadedModel:
    folder.mkdir(parents=True, exist_ok=True)
    return load_checkpoint(str(tiny_memorizing(folder, seed)), "cpu")
