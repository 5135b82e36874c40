"""A few proofs, and a training of them that takes seconds."""

from __future__ import annotations

from pathlib import Path

from prover.decoder.prompts import PromptForm
from prover.generators.base import Step
from prover.training.examples import Corpus, Proof, write_corpus
from prover.training.recipe import Recipe, Shape

HISTORY = {PromptForm.HISTORY: 1.0}


def proof(number: int, *tactics: str, module: str = "A", split: str = "train") -> Proof:
    """A proof of its own goals, a tactic a step."""
    steps = tuple(
        Step((f"n{number} k : Nat\nh{place} : k = {number}\n⊢ n{number} + k = {number} + n{number}",), tactic)
        for place, tactic in enumerate(tactics)
    )
    statement = f"theorem T{number} (n{number} k : Nat) : n{number} + k = {number} + n{number}"
    return Proof(f"T{number}", module, statement, number, steps, "library", split)


EIGHT = (
    proof(0, "intro h₁", "simp_all"),
    proof(1, "rw [Nat.add_comm]", "exact h1"),
    proof(2, "omega"),
    proof(3, "induction k with\n  | zero => rfl\n  | succ n ih => exact ih"),
    proof(4, "exact List.length_append"),
    proof(5, "cases h0", "rfl"),
    proof(6, "apply Nat.le_of_lt"),
    proof(7, "decide"),
)
CORPUS = Corpus(EIGHT, (), "4.0.0")

TINY = Shape(hidden=32, layers=2, heads=2, ffn=64, vocabulary=320)


def recipe(**given: object) -> Recipe:
    """A recipe of seconds: no module held out, goals and their history."""
    chosen = {"shape": TINY, "forms": HISTORY, "length": 256, "batch": 1024, "held_out": 0.0, "warmup": 5}
    return Recipe(**{**chosen, **given})  # type: ignore[arg-type]


def corpus_file(folder: Path, corpus: Corpus = CORPUS) -> Path:
    """Write a corpus, and return where."""
    path = folder / "corpus.jsonl.xz"
    write_corpus(corpus, path)
    return path
