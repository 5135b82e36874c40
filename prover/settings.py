"""What the environment says: the one module of this package that reads environment variables.

``LEAN_PROVER_CACHE``
    folder for what is downloaded and generated (default: the user's cache folder).
``LEAN_PROVER_MEMORY``
    memory limit of one Lean process in GiB, for example ``2.5`` (default: depends on the Lean).
``LEAN_PROVER_API_KEY``
    key for a model's server that wants one; never shown (default: none is sent).
``LEAN_PROVER_READABLE``
    further folders that a native Lean may read in its sandbox, with ``:`` between them (default: none).
``LEAN_PROVER_TEMPLATES``
    TOML file with prompt templates for models (default: only those that are built in).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from prover.errors import InputError

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Settings:
    cache: Path
    #: Bytes a Lean process may hold resident; None leaves it to the kind of Lean.
    memory_limit: int | None
    #: None when there is none.
    api_key: str | None = field(default=None, repr=False)
    #: Folders beside a Lake project that its Lean may read, see :mod:`prover.lean.sandbox`.
    readable: tuple[Path, ...] = ()
    #: A file with prompt templates beside the built-in ones, see :mod:`prover.decoder.templates`.
    templates: Path | None = None


def settings() -> Settings:
    """Read the settings.

    Raises:
        InputError: a variable holds no usable value.
    """
    return Settings(
        cache=_cache(),
        memory_limit=_memory_limit(),
        api_key=_api_key(),
        readable=_readable(),
        templates=_templates(),
    )


#: What a native Lean, Lake and elan read; the rest is nobody's business, keys of other services above all.
_FOR_LEAN = (
    *("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    *("ELAN_HOME", "ELAN_TOOLCHAIN", "LAKE_HOME", "LAKE_CACHE_DIR", "LAKE_ARTIFACT_CACHE", "XDG_CACHE_HOME"),
    *("LEAN_PATH", "LEAN_SRC_PATH", "LEAN_SYSROOT", "LEAN_CC", "LEAN_NUM_THREADS", "LEAN_STACK_SIZE_KB"),
)


def environment_for_lean() -> dict[str, str]:
    """Return the part of the environment that a native Lean may see."""
    return {name: value for name, value in os.environ.items() if name in _FOR_LEAN or name.startswith("LC_")}


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


def _api_key() -> str | None:
    key = os.environ.get("LEAN_PROVER_API_KEY", "").strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise InputError("LEAN_PROVER_API_KEY holds a space or a letter that cannot be part of a key")
    return key or None


def _readable() -> tuple[Path, ...]:
    named = os.environ.get("LEAN_PROVER_READABLE", "").split(os.pathsep)
    return tuple(Path(name).expanduser().absolute() for name in named if name)


def _templates() -> Path | None:
    chosen = os.environ.get("LEAN_PROVER_TEMPLATES")
    return Path(chosen).expanduser().absolute() if chosen else None
