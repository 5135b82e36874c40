"""An agent that proves Lean 4 theorems tactic by tactic.

``from prover import Prover, prove``: see :mod:`prover.api`. Names are imported when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prover.api import Found, Prover, SuggestedOutcome, Suggestion, prove
    from prover.errors import InputError, LeanUnavailable, ModelUnavailable, ProverError
    from prover.reports import FileReport, Options, TheoremReport, TheoremStatus

__version__ = "0.1.0"

__all__ = [
    "FileReport",
    "Found",
    "InputError",
    "LeanUnavailable",
    "ModelUnavailable",
    "Options",
    "Prover",
    "ProverError",
    "SuggestedOutcome",
    "Suggestion",
    "TheoremReport",
    "TheoremStatus",
    "prove",
]
_ERRORS = ("InputError", "LeanUnavailable", "ModelUnavailable", "ProverError")
_REPORTS = ("FileReport", "Options", "TheoremReport", "TheoremStatus")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = "errors" if name in _ERRORS else "reports" if name in _REPORTS else "api"
    return getattr(import_module(f"prover.{module}"), name)
