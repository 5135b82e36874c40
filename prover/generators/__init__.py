"""Tactic generators: from a proof state and its history to tactics with log-probabilities."""

from __future__ import annotations

from prover.errors import InputError
from prover.generators.base import TacticGenerator
from prover.generators.portfolio import Portfolio

_GENERATORS = {"portfolio": Portfolio}


def make_generator(name: str) -> TacticGenerator:
    """Return a generator by its name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in _GENERATORS:
        raise InputError(f"there is no generator {name!r}: choose one of {', '.join(sorted(_GENERATORS))}")
    return _GENERATORS[name]()
