"""What `prover eval run` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prover.decoder.options import DecoderOptions


@dataclass(frozen=True, slots=True)
class Arguments:
    """One field an option; ``eval/cli/run.py`` says what they mean."""

    benchmark: str
    split: str
    statements: Path | None
    mathlib: Path | None
    sandbox: bool
    only: tuple[str, ...]
    limit: int | None
    sample: int | None
    out: Path
    generator: str
    online: bool
    #: Runs whose proofs the generator is taught first.
    experience: tuple[Path, ...]
    seeds: tuple[int, ...]
    expansions: int
    tactics: int
    seconds: float
    length_exponent: float
    #: None: 1; over Ray as many as the cluster has room for.
    workers: int | None
    ray: str | None
    decoder: DecoderOptions
