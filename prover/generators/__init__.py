"""Tactic generators: from a proof state and its history to tactics with log-probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prover.errors import InputError
from prover.generators.base import TacticGenerator
from prover.generators.portfolio import Portfolio

if TYPE_CHECKING:
    from prover.generators.experience import Experience
    from prover.premises import PremiseCorpus

#: The names of all generators; ``a+b`` is a mixture of ``a`` and ``b``.
NAMES = ("portfolio", "knn", "portfolio+knn")


def needs_corpus(name: str) -> bool:
    """Say whether a generator is made from the library's premises, which are then to be loaded first."""
    return "knn" in name.split("+")


def learns(name: str) -> bool:
    """Say whether a generator can be taught proofs."""
    return "knn" in name.split("+")


def check_generator(name: str) -> None:
    """Look whether there is a generator of this name, before anything is started.

    Raises:
        InputError: there is none.
    """
    if name not in NAMES:
        raise InputError(f"there is no generator {name!r}: choose one of {', '.join(NAMES)}")


def make_generator(
    name: str, corpus: PremiseCorpus | None = None, experience: Experience | None = None
) -> TacticGenerator:
    """Return a generator by its name.

    Args:
        name: one of :data:`NAMES`.
        corpus: the library's premises, for a generator that :func:`needs_corpus`.
        experience: what a generator that learns begins with; None: nothing.

    Raises:
        InputError: there is none of that name, or it needs premises and got none.
    """
    check_generator(name)
    if needs_corpus(name) and corpus is None:
        raise InputError(f"the generator {name!r} needs the library's premises: read them first, once")
    parts = [_make(part, corpus, experience) for part in name.split("+")]
    if len(parts) == 1:
        return parts[0]
    from prover.generators.mixture import Mixture

    return Mixture([(part, 1.0) for part in parts])


def _make(name: str, corpus: PremiseCorpus | None, experience: Experience | None) -> TacticGenerator:
    if name == "portfolio" or corpus is None:
        return Portfolio()
    from prover.generators.knn import KNN

    return KNN(corpus, experience)
