"""What a training is: everything that, with the same data, gives the same model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from prover.decoder.prompts import PromptForm
from prover.errors import InputError

#: How often a proof is told in each form, unless one form was chosen.
MIXED = {PromptForm.GOAL: 0.2, PromptForm.HISTORY: 0.5, PromptForm.CONTEXT: 0.2, PromptForm.WHOLE: 0.1}
#: Of the mixed forms, the one that a model is asked in unless somebody chooses another.
ASKED = PromptForm.HISTORY

#: Learning rates at the top of the schedule: of a model made anew, of one fine-tuned, of one with LoRA.
RATES = {"new": 1e-3, "tuned": 2e-5, "lora": 2e-4}


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama (Touvron et al. 2023), its output tied to its embeddings."""

    hidden: int = 320
    layers: int = 6
    heads: int = 5
    ffn: int = 896
    vocabulary: int = 8192


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained."""

    #: A model made anew; None: ``base`` is fine-tuned.
    shape: Shape | None = field(default_factory=Shape)
    #: A folder or a hub id.
    base: str = ""
    #: Rank of the adapters (Hu et al. 2021, "LoRA"); 0: all weights are trained.
    lora: int = 0
    forms: Mapping[PromptForm, float] = field(default_factory=lambda: dict(MIXED))
    #: See :class:`prover.training.dataset.Mix`.
    declarations: float = 0.0
    copies: float = 0.0
    frequent: int = 0
    repeated: int = 0
    prompts: float = 0.0
    synthetic: float = 1.0
    lessons: float = 0.0
    applied: float = 0.0
    renamed: float = 0.0
    #: A new model copies from the start, see :mod:`prover.training.circuits`.
    induction: bool = False
    #: Entries of each document's memory, for a model with a memory layer; 0: a model without one.
    memory: int = 0
    #: Documents that are read side by side.
    slots: int = 4
    #: Tokens of a sequence: of a prompt and its answer.
    length: int = 1024
    #: Tokens of a batch, padding among them.
    batch: int = 8192
    #: Processes that make batches ready; 0: the one that trains. Each has epochs of its own, so the order of
    #: batches depends on it.
    workers: int = 0
    #: Optimizer steps, and minutes on the clock; it ends with whichever comes first. 0: no limit.
    steps: int = 0
    minutes: float = 0.0
    #: At the top of the schedule; 0: what is usual, see ``RATES``.
    rate: float = 0.0
    #: Steps to the top; of a short training a tenth.
    warmup: int = 100
    decay: float = 0.1
    clip: float = 1.0
    #: Share of the modules that are kept from training, to measure with.
    held_out: float = 0.03
    seed: int = 0

    @property
    def top_rate(self) -> float:
        """The learning rate at the top of the schedule."""
        return self.rate or RATES["new" if self.shape else "lora" if self.lora else "tuned"]

    @property
    def form(self) -> PromptForm:
        """The form that the model is asked in unless somebody chooses another."""
        return next(iter(self.forms)) if len(self.forms) == 1 else ASKED

    def check(self) -> None:
        """Look whether it can be carried out.

        Raises:
            InputError: what it says does not go together.
        """
        if not self.steps and not self.minutes:
            raise InputError("say how long to train: --steps, --minutes, or both")
        if self.lora and not self.base:
            raise InputError("--lora is for a model that is there: name it with --from")
        if self.shape and self.shape.hidden % (2 * self.shape.heads):
            raise InputError(
                f"{self.shape.hidden} dimensions do not part into {self.shape.heads} heads of an even size"
            )
        if self.memory and self.lora:
            raise InputError("--memory trains the whole model: leave out --lora")
        if self.memory and self.workers > 1:
            raise InputError("--memory reads documents in order: --workers 1 at most")
        if self.induction and self.base:
            raise InputError("--induction is for a model made anew: leave out --from")
        if self.length > self.batch:
            raise InputError(f"a sequence of {self.length} tokens does not fit a batch of {self.batch}")


def as_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe for ``training.json``."""
    return asdict(recipe)


def difference(recipe: Recipe, written: Mapping[str, Any]) -> str:
    """Say in what a recipe is not the one that was written down; "" if in nothing."""
    ours = as_json(recipe)
    wrong = (f.name for f in fields(recipe) if written.get(f.name) != ours[f.name])
    return ", ".join(f"{name} {written.get(name)!r} (now {ours[name]!r})" for name in wrong)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, 16 hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of some packages that are installed."""
    from importlib.metadata import version

    return {name: version(name) for name in packages}
