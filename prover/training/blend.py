"""Two checkpoints of one training as one: weights in between.

A model that was trained on for a new skill has lost some of its old ones; between its weights and those it
began with lies one that has both (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv
2109.01903).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from prover.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_WEIGHTS = "model.safetensors"


def blend(first: Path, second: Path, share: float, out: Path) -> int:
    """Write the checkpoint (1 - share) · first + share · second, and return how many tensors were blended.

    What only the second has, as the gates of a memory that was added to it, is taken as it is, and so are its
    tokenizer, configuration and record.

    Raises:
        InputError: one of them is no checkpoint, they do not have the same shape, or ``out`` is not empty.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} holds something else: choose another folder")
    try:
        one, other = (load_file(folder / _WEIGHTS) for folder in (first, second))
    except (OSError, SafetensorError) as error:
        raise InputError(f"{first} and {second} must both hold {_WEIGHTS}: {error}") from error
    common = one.keys() & other.keys()
    if one.keys() != common or any(one[name].shape != other[name].shape for name in common):
        raise InputError(f"{second} was not trained on from {first}: their weights have other shapes")
    mixed = {
        name: _between(one[name], tensor, share) if name in common else tensor
        for name, tensor in other.items()
    }
    shutil.copytree(second, out, ignore=shutil.ignore_patterns("work", _WEIGHTS), dirs_exist_ok=True)
    save_file(mixed, out / _WEIGHTS, {"format": "pt"})
    return len(common)


def _between(one: Tensor, other: Tensor, share: float) -> Tensor:
    """In float32, and back."""
    return ((1.0 - share) * one.float() + share * other.float()).to(other.dtype)
