"""What a person can choose about the decoder; nothing heavy is imported here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prover.decoder.completion import Decoding
from prover.errors import InputError

#: The checkpoint that comes with the package, and what a checkpoint of ours is known by.
SHIPPED_CHECKPOINT = Path(__file__).parent / "checkpoint"
RECIPE = "training.json"

#: What a decoder with a memory layer can remember: the library's declarations and those of the file at hand,
#: the steps of proofs that were found, and the tactics that failed.
LIBRARY, FILE, STEPS, FAILURES = MEMORIES = ("library", "file", "steps", "failures")
#: What it remembers unless somebody chooses: the library takes minutes to read the first time, and most of a
#: model's time to look up on a processor (docs/figures.md).
USUAL = (FILE, STEPS, FAILURES)
#: What the kinds of models with a memory layer begin with (see :mod:`memory.modeling`).
_MEMORIZING = "memorizing_"

#: Tactics drawn at a state, unless a template or a person says otherwise.
SAMPLES = 16


@dataclass(frozen=True, slots=True)
class DecoderOptions:
    """Which model proposes tactics, and how it is asked."""

    #: A checkpoint's folder, a hub id, or the ``http(s)://…/v1`` of a server; "" is the shipped checkpoint.
    model: str = ""
    #: A form of our own prompts, or the name of a template; "" is what the model was trained on.
    prompt: str = ""
    #: Continuations a state; None is what the prompt's template says, or :data:`SAMPLES`.
    samples: int | None = None
    decoding: Decoding | None = None
    temperature: float | None = None
    #: ``cpu``, ``cuda``, ``cuda:1`` ...; "" is the GPU if there is one.
    device: str = ""
    #: ``float32``, ``bfloat16`` ...; "" is what is fast on the device.
    dtype: str = ""
    #: In process: ``transformers`` or ``vllm``; a server's address needs neither.
    engine: str = "transformers"
    #: Some of :data:`MEMORIES`; None is :data:`USUAL` where the checkpoint has a memory layer.
    memory: tuple[str, ...] | None = None

    @property
    def description(self) -> str:
        """One line for people and plans: what was chosen, and nothing of what was not."""
        chosen = (
            self.model or "shipped",
            self.prompt,
            f"{self.samples} a state" if self.samples else "",
            self.decoding or "",
            f"temperature {self.temperature:g}" if self.temperature else "",
            "" if self.memory is None else f"memory {'+'.join(self.memory) or 'none'}",
        )
        return ", ".join(filter(None, chosen))


#: The checkpoint in this repository, as it is.
SHIPPED = DecoderOptions()


def memories_of(options: DecoderOptions) -> tuple[str, ...]:
    """What a decoder is to remember; nothing where its model has no memory layer.

    Raises:
        InputError: something was asked for, and the model has none or there is nothing of that name; or its
            checkpoint is damaged.
    """
    if unknown := set(options.memory or ()) - set(MEMORIES):
        raise InputError(f"a decoder remembers no {', '.join(sorted(unknown))}: choose {', '.join(MEMORIES)}")
    has_layer = has_memory_layer(options)
    if options.memory and not has_layer:
        raise InputError(
            f"{options.model or 'the shipped model'} has no memory layer here: name the folder of a "
            "checkpoint that has one with --model, or leave out --memory"
        )
    if not has_layer:
        return ()
    return USUAL if options.memory is None else options.memory


def has_memory_layer(options: DecoderOptions) -> bool:
    """Say whether the chosen model has a memory layer, and is run where that can be asked.

    Raises:
        InputError: its checkpoint is damaged.
    """
    if options.engine != "transformers":
        return False
    config = _json_of(options.model, "config.json", "name another model")
    return str(config.get("model_type")).startswith(_MEMORIZING)


def recipe_of(model: str) -> dict[str, Any]:
    """What our training wrote down beside a checkpoint; nothing for other models.

    Raises:
        InputError: it is damaged.
    """
    return _json_of(model, RECIPE, "train the model again, or name another")


def _json_of(model: str, name: str, advice: str) -> dict[str, Any]:
    """A file of a checkpoint's folder; {} where there is none, nor a folder."""
    path = (Path(model).expanduser() if model else SHIPPED_CHECKPOINT) / name
    try:
        found: dict[str, Any] = dict(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}): {advice}") from error
    return found
