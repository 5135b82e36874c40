"""The weights files of a checkpoint, judged by their headers before anything is loaded."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prover.errors import InputError

_SINGLE, _INDEX, _ADAPTER = "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"


def weights_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint.

    Raises:
        InputError: there are none, or one of them is missing.
    """
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    if (folder / _INDEX).is_file():
        names = sorted(set(read_json(folder / _INDEX).get("weight_map", {}).values()))
        files = [folder / name for name in names]
        if missing := [file.name for file in files if not file.is_file()]:
            raise InputError(f"{folder} lacks weights ({', '.join(missing)}): copy or download it again.")
        if files:
            return files
    others = ", ".join(file.name for file in sorted(folder.glob("*.bin")))
    what = f"only {others}, which may run code when it is read" if others else "no weights"
    raise InputError(
        f"{folder} holds {what}: {_SINGLE} is needed. Save the model with save_pretrained of transformers."
    )


def adapter_file(folder: Path) -> Path:
    """The weights of a LoRA adapter.

    Raises:
        InputError: there are none.
    """
    if not (folder / _ADAPTER).is_file():
        raise InputError(f"{folder} is an adapter without weights: {_ADAPTER} is missing.")
    return folder / _ADAPTER


def parameters(files: Iterable[Path]) -> int:
    """How many numbers the files hold.

    Raises:
        InputError: a file is torn.
    """
    tensors = [tensor for file in files for tensor in tensors_of(file).values()]
    return sum(math.prod(tensor["shape"]) for tensor in tensors)


def tensors_of(file: Path) -> dict[str, dict[str, Any]]:
    """The header of a safetensors file: each tensor's dtype, shape and place.

    Raises:
        InputError: the file is torn, or no safetensors file.
    """
    torn = InputError(f"{file} is torn, or no safetensors file: copy or download it again.")
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if 8 + length > size:
            raise torn
        text = opened.read(length)
    try:
        header: dict[str, dict[str, Any]] = json.loads(text)
        header.pop("__metadata__", None)
        end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    except (ValueError, TypeError, KeyError) as error:
        raise torn from error
    if 8 + length + end != size:
        raise torn
    return header


def hash_files(files: Iterable[Path]) -> str:
    """16 hex digits for the names and contents of those files that exist."""
    total = hashlib.sha256()
    for file in files:
        if file.is_file():
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256")
            total.update(f"{file.name} {digest.hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def read_json(file: Path) -> dict[str, Any]:
    """Read an object from a file.

    Raises:
        InputError: it does not hold one.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}): copy or download it again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no JSON object: copy or download it again.")
    return content
