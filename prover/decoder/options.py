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

    @property
    def description(self) -> str:
        """One line for people and plans: what was chosen, and nothing of what was not."""
        chosen = (
            self.model or "shipped",
            self.prompt,
            f"{self.samples} a state" if self.samples else "",
            self.decoding or "",
            f"temperature {self.temperature:g}" if self.temperature else "",
        )
        return ", ".join(filter(None, chosen))


#: The checkpoint in this repository, as it is.
SHIPPED = DecoderOptions()


def recipe_of(model: str) -> dict[str, Any]:
    """What our training wrote down beside a checkpoint; nothing for other models.

    Raises:
        InputError: it is damaged.
    """
    path = (Path(model) if model else SHIPPED_CHECKPOINT) / RECIPE
    try:
        recipe: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): train the model again, or name another"
        ) from error
    return recipe
