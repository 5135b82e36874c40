"""What can go wrong with a memory, by whose fault it is."""

from __future__ import annotations


class ExternalMemoryError(Exception):
    """Base of all; its text is written for a person and says what to do."""


class MemoryInputError(ExternalMemoryError):
    """The input is at fault: no memory there, one of another model, shapes or options that do not fit."""


class MemoryUnavailable(ExternalMemoryError):
    """The machine is at fault: the disk is full, another process writes, memory or a GPU is missing."""
