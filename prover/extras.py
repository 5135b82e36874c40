"""Packages that only some commands need."""

from __future__ import annotations

from importlib.util import find_spec

from prover.errors import InputError


def check_installed(what: str, extra: str, *packages: str) -> None:
    """Look whether packages are installed, without importing them.

    Args:
        what: needs them, for a person.
        extra: of this package that brings them.

    Raises:
        InputError: some are missing.
    """
    if missing := [name for name in packages if find_spec(name) is None]:
        raise InputError(f"{what} needs {', '.join(missing)}: pip install 'lean-prover[{extra}]'")
