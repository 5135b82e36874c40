"""Keeps a native Lean from doing harm: Lean code can run programs while it is elaborated.

With bubblewrap (``bwrap``) the command sees the machine read-only, without the home folders and without a
network, and may write to a small ``/tmp`` of its own. With it or without, it runs under limits, and is told
nothing of our environment but what Lean needs. See docs/toolchains.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from prover.settings import GIB, environment_for_lean

MIB = 1024**2
_GUARD = Path(__file__).with_name("guard.py")
#: Lean maps the library's files and reserves room for stacks and heaps: all that counts as address space.
_RESERVED = 64 * GIB
_TMP = Path("/tmp").resolve()
#: For the folders that stand in for hidden ones, and hold nothing but mount points.
_HIDDEN_SIZE = MIB
#: What belongs to people or to services: a socket in /run would be a way out.
_HIDDEN = ("/home", "/root", "/tmp", "/var/tmp", "/run")
#: Programs of the whole system that lie in a hidden folder (NixOS).
_SYSTEM_PROGRAMS = ("/run/current-system",)
_PROBE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one Lean and all that it starts may use."""

    #: Counted twice a second; more of them end it.
    processes: int
    #: Of all processes together.
    threads: int
    #: Bytes of each file.
    file_size: int
    #: Bytes of the sandbox's ``/tmp``, which lies in memory.
    scratch: int
    #: Of each process.
    open_files: int
    #: Bytes of each process. What it holds in memory is counted apart, see ``LeanCommand.memory_limit``.
    address_space: int
    #: Of each process. A request ends sooner, by the clock: this is for what outlives it.
    cpu_seconds: int


def limits_for(memory: int) -> Limits:
    """The limits of a Lean that may hold so many bytes in memory."""
    return Limits(
        processes=64,
        threads=512 + 16 * (os.cpu_count() or 1),
        file_size=256 * MIB,
        scratch=256 * MIB,
        open_files=4096,
        address_space=memory + _RESERVED,
        cpu_seconds=48 * 3600,
    )


@dataclass(frozen=True, slots=True)
class Confinement:
    """What stands before a command, and what became of the wish for a sandbox."""

    prefix: tuple[str, ...]
    #: The command's whole environment; None is our own.
    env: Mapping[str, str] | None
    limits: Limits | None
    #: Why there is no sandbox although one was wanted, for a person; "" where all is as it should be.
    warning: str = ""


def unconfined() -> Confinement:
    """Run the command with our own rights and without limits; it only dies with us."""
    return Confinement((sys.executable, "-I", str(_GUARD)), None, None)


def confine(readable: Iterable[Path], folder: Path | None, limits: Limits) -> Confinement:
    """Confine a command as far as this machine lets us.

    Args:
        readable: folders and files that it needs, wherever they lie; those that are not there are left out.
        folder: where it runs, readable too; None: nowhere in particular.
        limits: what it may use.
    """
    env = environment_for_lean()
    guarded = (sys.executable, "-I", str(_GUARD), "--limits", json.dumps(asdict(limits)))
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return Confinement(guarded, env, limits, _no_sandbox("bubblewrap (bwrap) is not on the PATH"))
    isolation, reason = isolation_of(bwrap)
    if reason:
        return Confinement(guarded, env, limits, _no_sandbox(f"bubblewrap does not work here ({reason})"))
    shown = [*readable, *([folder] if folder else [])]
    wrapped = (bwrap, *isolation, *_view(shown, limits.scratch))
    return Confinement((*guarded, *wrapped, "--chdir", str(folder or "/"), "--"), env, limits)


def _no_sandbox(reason: str) -> str:
    """Say that Lean runs without a sandbox, and what to do."""
    return (
        f"{reason}: programs in Lean files can write to your files and use the network. "
        "Install bubblewrap, take --lean embedded for files that you do not trust, or say --no-sandbox."
    )


# --- what bubblewrap is told ------------------------------------------------------------------------

_ISOLATION = (
    *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
)
#: The first that works: a user namespace in which no further one can be made, or (old versions) any.
_USER_NAMESPACES = (("--unshare-user", "--disable-userns"), ("--unshare-user-try",))


@cache
def isolation_of(bwrap: str) -> tuple[tuple[str, ...], str]:
    """Try bubblewrap: the arguments that isolate a command here, and why none do ("" when some do)."""
    reason = ""
    for user_namespace in _USER_NAMESPACES:
        isolation = (*user_namespace, *_ISOLATION)
        reason = _complaint([bwrap, *isolation, *_view([], MIB), "--", "/bin/sh", "-c", ":"])
        if not reason:
            return isolation, ""
    return (), reason


def _complaint(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROBE_SECONDS, env={}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = " ".join(done.stderr.split())
    return "" if done.returncode == 0 else said or f"exit code {done.returncode}"


def _view(readable: Sequence[Path], scratch: int) -> list[str]:
    """The arguments that make the file system that the command sees; later ones cover earlier ones."""
    hidden = _hidden_folders()
    arguments = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    arguments += ["--size", str(scratch), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    for folder in hidden:
        arguments += ["--size", str(scratch if folder == _TMP else _HIDDEN_SIZE), "--tmpfs", str(folder)]
    for path in _mount_points([*map(Path, _SYSTEM_PROGRAMS), *readable], hidden):
        arguments += ["--ro-bind-try", str(path), str(path)]
    arguments += _elan_home()
    for folder in hidden:
        if folder != _TMP:
            arguments += ["--remount-ro", str(folder)]
    return arguments


def _mount_points(readable: Iterable[Path], hidden: Sequence[Path]) -> list[Path]:
    """Where the readable folders are shown: at their real places, and at the names that were used for them.

    A name outside the hidden folders leads to the real place by itself, since links are still there.
    """
    found: dict[Path, None] = {}
    for path in readable:
        named = any(path.is_relative_to(folder) for folder in hidden)
        for place in (path, path.resolve()) if named else (path.resolve(),):
            if not any(place.is_relative_to(outer) for outer in found):
                found[place] = None
    return list(found)


def _hidden_folders() -> list[Path]:
    """The folders that the command shall not see, outer ones only; ``/tmp`` is always one of them."""
    candidates = [*map(Path, _HIDDEN), Path.home(), Path(tempfile.gettempdir())]
    found = sorted({path.resolve() for path in candidates if path.is_dir()} - {Path("/")})
    return [path for path in found if not any(path.is_relative_to(o) for o in found if o != path)]


def _elan_home() -> list[str]:
    """Show elan's folder, read-only but for its top: elan notes there which projects it has seen.

    What it notes is lost, and so is what a hostile file puts there.
    """
    home = Path(environment_for_lean().get("ELAN_HOME") or Path.home() / ".elan").absolute()
    arguments: list[str] = []
    with suppress(OSError):
        entries = sorted(home.iterdir())
        arguments = ["--size", str(_HIDDEN_SIZE), "--tmpfs", str(home)]
        for entry in entries:
            if entry.name not in ("known-projects", "tmp"):
                arguments += ["--ro-bind-try", str(entry), str(entry)]
        # What `elan toolchain link` made leads elsewhere.
        linked = [path.resolve() for path in (home / "toolchains").iterdir() if path.is_symlink()]
        arguments += [part for path in linked for part in ("--ro-bind-try", str(path), str(path))]
    return arguments
