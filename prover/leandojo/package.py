"""The ``lean-dojo`` package: imported where it is needed, and what its errors mean here.

Supported is lean-dojo 4.20 (``Theorem``, ``LeanGitRepo``, ``Dojo``). See docs/leandojo.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prover.errors import InputError

_SUPPORTED = "4.20."


def lean_dojo() -> Any:
    """Return the module ``lean_dojo``.

    It would look for each traced repository in a cache on the network first; here only what is on this
    machine counts, unless ``DISABLE_REMOTE_CACHE`` is set to "" beforehand.

    Raises:
        InputError: it is not installed, of another version, or cannot be imported here.
    """
    if os.environ.get("DISABLE_REMOTE_CACHE") == "":
        del os.environ["DISABLE_REMOTE_CACHE"]
    else:
        os.environ["DISABLE_REMOTE_CACHE"] = "1"
    try:
        import lean_dojo as package
    except ModuleNotFoundError as error:
        if error.name != "lean_dojo":
            raise
        raise InputError("LeanDojo is not installed: pip install 'lean-prover[dojo]'") from error
    except (OSError, AssertionError, ValueError) as error:  # its settings, git, or a token that is refused
        raise InputError(f"LeanDojo cannot be imported here: {error or type(error).__name__}") from error
    if not package.__version__.startswith(_SUPPORTED):
        raise InputError(
            f"LeanDojo {package.__version__} is installed; {_SUPPORTED}x is supported: "
            "pip install 'lean-prover[dojo]'"
        )
    return package


def theorem_of(url: str, commit: str, file: Path, name: str) -> Any:
    """Return a ``lean_dojo.Theorem``.

    Args:
        url: of the repository, or the folder of a local one.
        commit: 40 hex digits, or a tag; "" is what a local repository has checked out.
        file: within the repository.
        name: the theorem's full name.

    Raises:
        InputError: there is no such repository or commit, or GitHub cannot be reached for it.
    """
    package = lean_dojo()
    from git.exc import GitError

    try:
        local = Path(url).expanduser()
        if not commit and local.is_dir():
            repository = package.LeanGitRepo.from_path(local.resolve())
        else:
            repository = package.LeanGitRepo(str(local.resolve()) if local.is_dir() else url, commit)
    except (GitError, ValueError, AssertionError, KeyError, OSError) as error:
        reason = str(error) or type(error).__name__
        where = f"{url} at {commit or 'its HEAD'}"
        raise InputError(f"LeanDojo finds no Lean repository {where}: {reason}") from error
    return package.Theorem(repository, file, name)


def traced_folder(theorem: Any) -> Path:
    """Return the folder of a theorem's repository in LeanDojo's cache.

    Asked for one that is not there, LeanDojo would trace it, which means to build it: that is for a person
    to begin.

    Raises:
        InputError: it was not traced.
    """
    package, repository = lean_dojo(), theorem.repo
    try:
        available = package.is_available_in_cache(repository)
    except AssertionError:  # half of it is there
        available = False
    if not available:
        raise InputError(
            f"{repository.url} was not traced at {repository.commit}: trace it with "
            "lean_dojo.trace(LeanGitRepo(url, commit))"
        )
    return Path(package.get_traced_repo_path(repository, build_deps=False))
