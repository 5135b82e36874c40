"""A memory's errors as the prover's own, which the command lines tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from memory.errors import MemoryInputError, MemoryUnavailable
from prover.errors import InputError, ModelUnavailable


@contextmanager
def as_prover_errors() -> Iterator[None]:
    """Raise a MemoryInputError as an InputError, and a MemoryUnavailable as a ModelUnavailable."""
    try:
        yield
    except MemoryInputError as error:
        raise InputError(str(error)) from error
    except MemoryUnavailable as error:
        raise ModelUnavailable(str(error)) from error
