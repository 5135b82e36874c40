"""The training loop: the Trainer of transformers, with our batches, our loss and our schedule.

The head, a third of a small model's work, runs only where a token is learned: hidden states are gathered
before it. Batches are padded on the right and carry no mask, so that attention takes its fast causal path.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import IterableDataset, get_worker_info
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments

from prover.decoder.precision import avoid_planned_attention, fast_in_bfloat16
from prover.training.dataset import IGNORED, Row, padded
from prover.training.recipe import Recipe

#: What the learning rate falls to, as a share of its top.
_FLOOR = 0.05
#: On a CPU, attention as plain matrix products makes a step a quarter faster than the fused kernel does at 85
#: tokens a row, and at 1,000 a third slower.
_PLAIN_ATTENTION = 256
#: Batches that each worker makes ahead.
_AHEAD = 8
#: For the Trainer, which wants a number where the clock ends the training.
_ENDLESS = 10**9
#: What a whole checkpoint of the Trainer holds beside its weights.
_PARTS = ("optimizer.pt", "scheduler.pt", "rng_state.pth")
_STATE = "trainer_state.json"
_WEIGHTS = ("model.safetensors", "adapter_model.safetensors")

#: Takes a line for the person at the terminal.
Tell = Callable[[str], None]


# --- loss -----------------------------------------------------------------------------------------


def summed_loss(model: Any, batch: Mapping[str, Tensor], **extra: Any) -> tuple[Tensor, int]:
    """Return the negative log-likelihood of all learned tokens of a batch, in nats, and how many they are.

    Args:
        model: a causal language model, with adapters or without.
        batch: what :func:`prover.training.dataset.padded` makes.
        extra: for the model beside it.
    """
    inputs: dict[str, Any] = {name: it for name, it in batch.items() if name != "labels"}
    inputs |= extra | {"use_cache": False}
    labels = batch["labels"][:, 1:]
    learned = labels != IGNORED
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    with _autocast(batch["input_ids"].device):
        if _has_plain_head(causal):
            decoder = getattr(causal, causal.base_model_prefix)
            hidden = decoder(**inputs).last_hidden_state  # (B, T, D)
            logits = causal.get_output_embeddings()(hidden[:, :-1][learned])  # (N, V)
        else:
            logits = causal(**inputs).logits[:, :-1][learned]
    loss = torch.nn.functional.cross_entropy(logits.float(), labels[learned], reduction="sum")
    return loss, int(learned.sum())


def _has_plain_head(model: Any) -> bool:
    """Whether its logits are what its head makes of the hidden states, and nothing else."""
    scaled = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
    return not any(getattr(model.config, name, None) for name in (*scaled, "memory_copy"))


def _autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=fast_in_bfloat16(device))


@torch.no_grad()
def perplexity(model: Any, batches: Sequence[Sequence[Row]], pad_id: int) -> float:
    """The perplexity of the learned tokens of some batches; of none, not a number."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    total, count = 0.0, 0
    for rows in batches:
        loss, learned = summed_loss(model, {k: v.to(device) for k, v in padded(rows, pad_id).items()})
        total += loss.item()
        count += learned
    model.train(was_training)
    return math.exp(min(total / count, 50.0)) if count else math.nan


# --- time -----------------------------------------------------------------------------------------


class Clock:
    """The minutes a training has taken, those before it was resumed among them."""

    def __init__(self, before: float = 0.0) -> None:
        self._before = before
        self._started = time.monotonic()

    @property
    def minutes(self) -> float:
        return self._before + (time.monotonic() - self._started) / 60.0


def rate_at(recipe: Recipe, step: int, minutes: float) -> float:
    """The learning rate as a share of its top: a linear warm-up, then half a cosine to the end."""
    done = max(
        step / recipe.steps if recipe.steps else 0.0,
        minutes / recipe.minutes if recipe.minutes else 0.0,
    )
    warmup = min(recipe.warmup, recipe.steps // 10) if recipe.steps else recipe.warmup
    fallen = 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
    return min(1.0, (step + 1) / (warmup + 1)) * (_FLOOR + (1.0 - _FLOOR) * fallen)


# --- the loop -------------------------------------------------------------------------------------


class Told(Protocol):
    """What a model is trained on, an epoch after the other."""

    def epoch(self, number: int) -> Iterator[Any]:
        """Yield what is run at once, a step after the other."""
        ...


class _Stream(IterableDataset[Any]):
    """All steps, epoch after epoch; of several workers each has every so many-th epoch."""

    def __init__(self, batches: Told) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        for number in count(worker.id if worker else 0, worker.num_workers if worker else 1):
            yield from self._batches.epoch(number)


class AnswerTrainer(Trainer):
    """Trains on the learned tokens of our batches."""

    def __init__(
        self,
        recipe: Recipe,
        model: Any,
        batches: Told,
        held_out: Mapping[str, Sequence[Any]],
        pad_id: int,
        folder: Path,
        every: int,
        clock: Clock,
        tell: Tell,
    ) -> None:
        """Make ready; nothing is trained before :meth:`train`.

        Args:
            held_out: batches to measure with, by what they are.
            folder: where checkpoints and logs go.
            every: steps between two measurements, each with a checkpoint.
        """
        self._recipe = recipe
        self._held_out = held_out
        self._pad_id = pad_id
        self._clock = clock
        self._measured: tuple[int, dict[str, float]] = (-1, {})
        self.loss_is_scaled_for_ga = True
        super().__init__(
            model=model,
            args=_arguments(recipe, folder, every),
            train_dataset=_Stream(batches),
            eval_dataset={},
            data_collator=lambda steps: self.collated(steps[0]),
            callbacks=[_TimeLimit(recipe.minutes, clock), _Told(tell)],
        )
        self.remove_callback(PrinterCallback)
        implementation = getattr(model.config, "_attn_implementation", "")
        self._chooses_attention = self.args.device.type == "cpu" and implementation == "sdpa"
        avoid_planned_attention()

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if self._chooses_attention:
            # Plain attention takes no mask of booleans.
            short = inputs["input_ids"].shape[1] <= _PLAIN_ATTENTION and "attention_mask" not in inputs
            model.set_attn_implementation("eager" if short else "sdpa")
        loss, learned = summed_loss(model, inputs)
        return loss / max(learned, 1)

    @property
    def minutes(self) -> float:
        """What it has taken, before it was resumed too."""
        return self._clock.minutes

    def collated(self, step: Any) -> dict[str, Tensor]:
        """What is run at once, as tensors."""
        return padded(step, self._pad_id)

    def perplexities(self) -> dict[str, float]:
        """Of what is held out, by what it is."""
        return {
            kind: perplexity(self.model, batches, self._pad_id) for kind, batches in self._held_out.items()
        }

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        # Not a method: a scheduler's checkpoint takes what is an object with it.
        scheduler = LambdaLR(
            optimizer or self.optimizer,  # type: ignore[arg-type]
            lambda step: rate_at(self._recipe, step, self._clock.minutes),
        )
        self.lr_scheduler = scheduler
        return scheduler

    def train_from(self, checkpoint: Path | None) -> None:
        """Train to the end, from a checkpoint if there is one.

        The batches before it are made again and passed over, which is much faster than training on them.
        """
        if checkpoint is not None and 0 < self._recipe.steps <= step_of(checkpoint):
            self._load_from_checkpoint(str(checkpoint))
            self.state = TrainerState.load_from_json(str(checkpoint / _STATE))
        else:
            self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the perplexity of held-out answers, by form; once a step."""
        if self._measured[0] == self.state.global_step:
            return self._measured[1]
        found = {f"eval_perplexity_{kind}": value for kind, value in self.perplexities().items()}
        self._measured = (self.state.global_step, dict(found))
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs | {"minutes": self._clock.minutes}, start_time)


def _arguments(recipe: Recipe, folder: Path, every: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=recipe.steps or _ENDLESS,
        per_device_train_batch_size=1,  # which is a batch of ours
        learning_rate=recipe.top_rate,
        weight_decay=recipe.decay,
        adam_beta2=0.95,
        max_grad_norm=recipe.clip,
        seed=recipe.seed,
        logging_steps=min(10, every),
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        dataloader_num_workers=recipe.workers,
        dataloader_prefetch_factor=_AHEAD if recipe.workers else None,
        # Dispatched, all tensors of a step would be cut to as many rows as the first one has.
        accelerator_config={"dispatch_batches": False},
        include_num_input_tokens_seen="all",
        report_to="tensorboard",
    )


class _TimeLimit(TrainerCallback):
    """Stops after so many minutes; 0: never."""

    def __init__(self, minutes: float, clock: Clock) -> None:
        self._minutes = minutes
        self._clock = clock

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._minutes and self._clock.minutes >= self._minutes:
            control.should_training_stop = True


class _Told(TrainerCallback):
    """Tells how it goes: the loss every hundred steps, and every measurement."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        logs = logs or {}
        at = f"step {state.global_step}, {logs.get('minutes', 0.0):.1f} min"
        if "loss" in logs and state.global_step % 100 == 0:
            self._tell(f"{at}: loss {logs['loss']:.3f}, rate {logs['learning_rate']:.2e}")
        prefix = "eval_perplexity_"
        measured = {key.removeprefix(prefix): value for key, value in logs.items() if key.startswith(prefix)}
        if measured:
            found = ", ".join(f"{kind} {value:.3f}" for kind, value in measured.items())
            self._tell(f"{at}: held-out perplexity {found}")


# --- checkpoints ----------------------------------------------------------------------------------


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a training; a torn one is passed over."""
    named = ((path.name.partition("-")[2], path) for path in folder.glob("checkpoint-*"))
    found = {int(step): path for step, path in named if step.isdecimal()}
    return next((found[step] for step in sorted(found, reverse=True) if _is_whole(found[step], step)), None)


def _is_whole(checkpoint: Path, step: int) -> bool:
    # The state is written last.
    has_all = all((checkpoint / part).is_file() for part in _PARTS)
    has_weights = any((checkpoint / name).is_file() for name in _WEIGHTS)
    return has_all and has_weights and step_of(checkpoint) == step


def step_of(checkpoint: Path) -> int:
    """The step at which a checkpoint was written; -1 of a torn one."""
    return int(_state(checkpoint).get("global_step", -1))


def minutes_of(checkpoint: Path) -> float:
    """The minutes that a training had taken when a checkpoint was written."""
    logged = (entry["minutes"] for entry in _state(checkpoint).get("log_history", ()) if "minutes" in entry)
    return max(logged, default=0.0)


def _state(checkpoint: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state
