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
from memory.reading import shifted
from prover.training.dataset import padded, right_padded
from prover.training.episodes import Step, Turn
from prover.training.trainer import AnswerTrainer, summed_loss

#: How much faster than all else the gates and scales are trained: a few numbers that have far to go.
_GATES = 30.0
#: What finding a name counts beside saying it.
_FINDING = 1.0


class Kept:
    """What a recorder was told, with its gradients: keys and values (B, G, T, D), queries (B, H, T, D)."""

    live = True
    keys: Tensor
    values: Tensor
    queries: Tensor

    def keep(self, keys: Tensor, values: Tensor, queries: Tensor) -> None:
        self.keys, self.values, self.queries = keys, values, queries


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
        #: Of each memory's entries: which part of which name it is, or -1.
        self._named = [torch.empty(0, dtype=torch.long, device=device) for _ in range(count)]
        self._layer = shape.layer
        self._remembers = capacity > 0

    def loss(self, model: Any, step: Collated) -> tuple[Tensor, Tensor, int]:
        """Return the summed losses of a step, and its learned tokens; what was read is in memory afterwards.

        The first is that of language, the second that of finding names (:func:`finding_loss`).
        """
        for slot in step["begun"].nonzero().flatten().tolist():
            self._memories[slot].clear()
            self._named[slot] = self._named[slot][:0]
        told = [self._turn(model, turn) for turn in step["turns"]]
        language = torch.stack([it[0] for it in told]).sum()
        finding = torch.stack([it[1] for it in told]).sum()
        return language, finding, sum(it[2] for it in told)

    def settle(self) -> None:
        """Let go of the gradients of what was read; to be called when a step has been learned from."""
        for slot, memory in enumerate(self._memories):
            memory.settle()
            self._named[slot] = self._named[slot][len(self._named[slot]) - len(memory) :]

    def _turn(self, model: Any, turn: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, int]:
        said, told, slots = turn["branches"] > 0, Kept(), turn["slots"].tolist()
        memories = [self._memories[slot] for slot in slots]
        extra = {"memories": memories, "memory_queries": said, "recorder": told}
        batch = {name: it for name, it in turn.items() if name not in ("slots", "branches", "named")}
        language, learned = summed_loss(model, batch, **extra)
        finding = torch.zeros((), device=language.device)
        if self._remembers:
            finding = self._finding(model, turn, told)
            # Tokens of tactics are kept but the first, before which another tactic may stand.
            kept = said & (
                torch.nn.functional.pad(turn["branches"][:, :-1], (1, 0), value=-1) == turn["branches"]
            )
            keys = shifted(told.keys, model.config.memory_shift)
            named = torch.nn.functional.pad(turn["named"][:, :-1], (1, 0), value=-1)
            for slot in dict.fromkeys(slots):
                own = kept & (turn["slots"] == slot)[:, None]
                rows = (it.transpose(1, 2)[own] for it in (keys, told.values))  # (n, G, D) both
                self._memories[slot].add(*(it.transpose(0, 1) for it in rows))
                self._named[slot] = torch.cat([self._named[slot], named[own]])
        return language, finding, learned

    def _finding(self, model: Any, turn: Mapping[str, Tensor], told: Kept) -> Tensor:
        """The loss of finding names, of all rows that have a memory."""
        scale = model.model.layers[self._layer].self_attn.memory_scale
        losses = [told.queries.sum() * 0.0]
        for slot in set(turn["slots"].tolist()):
            rows, tokens = ((turn["named"] >= 0) & (turn["slots"] == slot)[:, None]).nonzero(as_tuple=True)
            queries = told.queries[rows, :, tokens]  # (Q, H, D)
            losses.append(
                finding_loss(
                    queries,
                    self._memories[slot].keys,
                    turn["named"][rows, tokens],
                    self._named[slot],
                    scale,
                )
            )
        return torch.stack(losses).sum()


def finding_loss(queries: Tensor, keys: Tensor, wanted: Tensor, named: Tensor, scale: Tensor) -> Tensor:
    """Return the loss of finding the entries that the next token of a name is to be taken from, in nats.

    Of a query it is -log of the softmax weight of all entries that are this part of this name, over all
    entries of the memory, as mean over heads; queries with no such entry do not count. The loss of a
    retriever of premises (van den Oord et al. 2018, "InfoNCE"), taken at the layer's own look-up.

    Args:
        queries: (Q, H, D), of unit length.
        keys: (G, N, D), of unit length.
        wanted: (Q,), the numbers of the parts that the queries are to find.
        named: (N,), those of the entries.
        scale: (H,).
    """
    right = wanted[:, None] == named  # (Q, N)
    there = right.any(dim=1)
    if not bool(there.any()):
        return queries.sum() * 0.0
    asked, right = queries[there], right[there]
    every = keys.repeat_interleave(asked.shape[1] // keys.shape[0], dim=0)  # (H, N, D)
    scores = torch.einsum("qhd,hnd->qhn", asked.float(), every.float()) * scale[:, None]
    found = scores.masked_fill(~right[:, None], -torch.inf).logsumexp(dim=-1)
    return (scores.logsumexp(dim=-1) - found).mean(dim=1).sum()


#: A step as tensors: ``begun`` (slots,) bool, and ``turns``, each what
#: :func:`prover.training.dataset.padded` makes, with ``slots`` (B,), and ``branches`` and ``named``
#: (B, T), in which padding is -1.
Collated = Mapping[str, Any]


def collated(step: Step, slots: int, pad_id: int) -> Collated:
    """A step as tensors."""
    begun = torch.zeros(slots, dtype=torch.bool)
    begun[list(step.begun)] = True
    return {"begun": begun, "turns": [_turn(turn, pad_id) for turn in step.turns]}


def _turn(turn: Turn, pad_id: int) -> dict[str, Tensor]:
    batch = padded(turn.rows, pad_id)
    length = batch["input_ids"].shape[1]
    branches = right_padded([row.branches for row in turn.rows], length)
    named = right_padded([row.named for row in turn.rows], length)
    return {**batch, "slots": torch.tensor(turn.slots), "branches": branches, "named": named}


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
        language, finding, learned = self._slots.loss(model, inputs)
        return (language + _FINDING * finding) / max(learned, 1)

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
        loss, _, learned = slots.loss(model, on_device(collated(step, 1, pad_id), device))
        slots.settle()
        total += loss.item()
        count += learned
    model.train(was_training)
    return math.exp(min(total / count, 50.0)) if count else math.nan


def on_device(step: Collated, device: torch.device) -> Collated:
    turns = [{name: it.to(device) for name, it in turn.items()} for turn in step["turns"]]
    return {"begun": step["begun"].to(device), "turns": turns}
