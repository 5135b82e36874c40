"""Training with a memory: what the memory layer makes of a part of a document is there for its later parts.

What is older than a step is a constant, made by the model as it was some steps ago (Wu et al. 2022, section
3.2). What was read in the same step has gradients (Tworkowski et al. 2023, "Focused Transformer"), so that
keys are learned as well as queries. Tokens of tactics and names look up and are kept; those of goals do
neither.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from memory.external import DocumentMemory
from memory.modeling import memory_shape
from prover.training.dataset import padded
from prover.training.episodes import Step, Turn
from prover.training.trainer import AnswerTrainer, summed_loss

#: How much faster than all else the gates and scales are trained: a few numbers that have far to go.
_GATES = 30.0


class _Kept:
    """What a recorder was told, with its gradients: (B, H, T, D) both."""

    live = True
    keys: Tensor
    values: Tensor

    def keep(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values


class Slots:
    """The memories of documents that are read side by side."""

    def __init__(self, model: Any, count: int, capacity: int, device: torch.device) -> None:
        """Make empty ones.

        Args:
            capacity: entries of each between steps; beyond it the oldest are dropped. 0: nothing is
                remembered, not even within a step.
        """
        shape = memory_shape(model)
        self._memories = [DocumentMemory(shape.heads, shape.width, capacity, device) for _ in range(count)]
        self._remembers = capacity > 0

    def loss(self, model: Any, step: Collated) -> tuple[Tensor, int]:
        """Return the summed loss of a step, and its learned tokens; what was read is in memory afterwards."""
        for slot in step["begun"].nonzero().flatten().tolist():
            self._memories[slot].clear()
        losses, count = [], 0
        for turn in step["turns"]:
            loss, learned = self._turn(model, turn)
            losses.append(loss)
            count += learned
        return torch.stack(losses).sum(), count

    def settle(self) -> None:
        """Let go of the gradients of what was read; to be called when a step has been learned from."""
        for memory in self._memories:
            memory.settle()

    def _turn(self, model: Any, turn: Mapping[str, Tensor]) -> tuple[Tensor, int]:
        kept, told = turn["branches"] > 0, _Kept()
        memories = [self._memories[slot] for slot in turn["slots"].tolist()]
        extra = {"memories": memories, "memory_queries": kept, "recorder": told}
        batch = {name: it for name, it in turn.items() if name not in ("slots", "branches")}
        found = summed_loss(model, batch, **extra)
        if self._remembers:
            for row, memory in enumerate(memories):
                memory.add(told.keys[row][:, kept[row]], told.values[row][:, kept[row]])
        return found


#: A step as tensors: ``begun`` (slots,) bool, and ``turns``, each what
#: :func:`prover.training.dataset.padded` makes, with ``slots`` (B,) and ``branches`` (B, T), padding -1.
Collated = Mapping[str, Any]


def collated(step: Step, slots: int, pad_id: int) -> Collated:
    """A step as tensors."""
    begun = torch.zeros(slots, dtype=torch.bool)
    begun[list(step.begun)] = True
    return {"begun": begun, "turns": [_turn(turn, pad_id) for turn in step.turns]}


def _turn(turn: Turn, pad_id: int) -> dict[str, Tensor]:
    batch = padded(turn.rows, pad_id)
    branches = torch.full_like(batch["input_ids"], -1)
    for place, row in enumerate(turn.rows):
        branches[place, : len(row.branches)] = torch.tensor(row.branches)
    return {**batch, "slots": torch.tensor(turn.slots), "branches": branches}


class MemoryTrainer(AnswerTrainer):
    """Trains a model with a memory layer on documents; held out are the steps of some, in one slot."""

    _slots: Slots | None = None

    def collated(self, step: Any) -> dict[str, Any]:
        # Trainers count the tokens of "input_ids".
        made = collated(step, self._recipe.slots, self._pad_id)
        return {**made, "input_ids": torch.cat([turn["input_ids"].flatten() for turn in made["turns"]])}

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if self._slots is None:
            self._slots = Slots(model, self._recipe.slots, self._recipe.memory, self.args.device)
        self._slots.settle()
        loss, learned = self._slots.loss(model, inputs)
        return loss / max(learned, 1)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW as ever, and faster for the memory's own few numbers."""
        if self.optimizer is None:
            assert self.model is not None
            decayed = set(self.get_decay_parameter_names(self.model))
            groups: dict[str, list[Any]] = {"decayed": [], "plain": [], "memory": []}
            for name, parameter in self.model.named_parameters():
                kind = "memory" if "memory_" in name else "decayed" if name in decayed else "plain"
                groups[kind].append(parameter)
            rate = self._recipe.top_rate
            self.optimizer = torch.optim.AdamW(
                [
                    {"params": groups["decayed"], "weight_decay": self._recipe.decay},
                    {"params": groups["plain"], "weight_decay": 0.0},
                    {"params": groups["memory"], "weight_decay": 0.0, "lr": _GATES * rate},
                ],
                lr=rate,
                betas=(0.9, self.args.adam_beta2),
                fused=True,
            )
        return self.optimizer

    def perplexities(self) -> dict[str, float]:
        """Of the held-out documents, with as large a memory as in training, and with none."""
        return {
            f"{kind}, {name}": document_perplexity(self.model, steps, capacity, self._pad_id)
            for kind, steps in self._held_out.items()
            for name, capacity in (("memory", self._recipe.memory), ("none", 0))
        }


@torch.no_grad()
def document_perplexity(model: Any, steps: Sequence[Step], capacity: int, pad_id: int) -> float:
    """The perplexity of the learned tokens of some documents, read one after the other with a memory each."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    slots = Slots(model, 1, capacity, device)
    total, count = 0.0, 0
    for step in steps:
        loss, learned = slots.loss(model, on_device(collated(step, 1, pad_id), device))
        slots.settle()
        total += loss.item()
        count += learned
    model.train(was_training)
    return math.exp(min(total / count, 50.0)) if count else math.nan


def on_device(step: Collated, device: torch.device) -> Collated:
    turns = [{name: it.to(device) for name, it in turn.items()} for turn in step["turns"]]
    return {"begun": step["begun"].to(device), "turns": turns}
