"""The command line of `prove`, as it was given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prover.decoder.options import DecoderOptions


@dataclass(frozen=True, slots=True)
class Arguments:
    """One field an option; `prover.cli.prove` says what they mean."""

    files: tuple[Path, ...]
    statement: str | None
    check: Path | None
    against: Path | None
    theorems: tuple[str, ...]
    timeout: float
    max_expansions: int
    max_tactics: int
    #: None: as many as the machine has room for.
    workers: int | None
    seed: int
    generator: str
    length_exponent: float
    lean: str | None
    sandbox: bool
    in_place: bool
    output: Path | None
    as_json: bool
    tree: Path | None
    verbose: bool
    remember: Path | None
    decoder: DecoderOptions
