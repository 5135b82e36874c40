"""The errors a caller of this package can meet, by whose fault they are."""

from __future__ import annotations


class ProverError(Exception):
    """Base of all; its text is written for the person at the terminal and says what to do."""


class InputError(ProverError):
    """The input is at fault: a missing file, a file that does not compile (exit code 2)."""


class LeanUnavailable(ProverError):
    """Lean or the machine is at fault: not installed, cannot be started, out of memory (exit code 3)."""


class ModelUnavailable(ProverError):
    """The language model is at fault: its server does not answer, memory does not suffice (exit code 3)."""
