"""What the environment says: the one module of this package that reads environment variables.

``LEAN_PROVER_CACHE``
    folder for what is downloaded and generated (default: the user's cache folder).
``LEAN_PROVER_MEMORY``
    memory limit of one Lean process in GiB, for example ``2.5`` (default: depends on the Lean).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from prover.errors import InputError

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Settings:
    cache: Path
    #: Bytes a Lean process may hold resident; None leaves it to the kind of Lean.
    memory_limit: int | None


def settings() -> Settings:
    """Read the settings.

    Raises:
        InputError: a variable holds no usable value.
    """
    return Settings(cache=_cache(), memory_limit=_memory_limit())


def _cache() -> Path:
    if chosen := os.environ.get("LEAN_PROVER_CACHE"):
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("lean-prover", appauthor=False)


def _memory_limit() -> int | None:
    text = os.environ.get("LEAN_PROVER_MEMORY")
    if not text:
        return None
    try:
        gib = float(text)
    except ValueError:
        gib = 0.0
    if not 0 < gib < 1e6:
        raise InputError(f"LEAN_PROVER_MEMORY is {text!r}: give the memory limit in GiB, for example 2.5")
    return int(gib * GIB)
