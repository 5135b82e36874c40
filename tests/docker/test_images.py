"""The images' files: linted, pinned, and of one mind with what they copy and with each other."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval.cli.run import run

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = [DOCKER / "Dockerfile", DOCKER / "Dockerfile.gpu"]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

pytestmark = pytest.mark.filterwarnings("error")


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Each instruction with its arguments on one line."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], " ".join(line.split()[1:])) for line in lines if line.strip()]


def arguments(dockerfile: Path, name: str) -> list[str]:
    return [rest for instruction, rest in instructions(dockerfile) if instruction == name]


def program(name: str) -> str:
    found = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    if found is None and (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip(f"{name} is not packaged for this machine")
    assert found is not None, f"{name} belongs to the extra `test`"
    return found


# --- linters --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    done = subprocess.run(
        [program("hadolint"), "--no-color", str(dockerfile)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", sorted(DOCKER.glob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    done = subprocess.run([program("shellcheck"), str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


# --- what is pinned -------------------------------------------------------------------------------


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_the_base_is_pinned_by_digest(dockerfile: Path) -> None:
    (base,) = (rest for rest in arguments(dockerfile, "ARG") if rest.startswith("BASE="))
    assert re.fullmatch(r"BASE=[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base)
    stages = {rest.split(" AS ")[-1] for rest in arguments(dockerfile, "FROM") if " AS " in rest}
    sources = {rest.split(" AS ")[0] for rest in arguments(dockerfile, "FROM")}
    assert sources <= {"${BASE}"} | stages


def test_every_package_of_the_gpu_image_has_a_version() -> None:
    pins = dict(
        line.split("==")
        for line in (DOCKER / "requirements-gpu.lock").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    )
    wanted = PROJECT["dependencies"] + [
        need for extra in ("gpu", "ray", "serve") for need in PROJECT["optional-dependencies"][extra]
    ]
    names = {re.split(r"[<>=;\[ ]", need)[0] for need in wanted} - {"faiss-cpu"} | {"faiss-gpu"}
    assert names <= pins.keys() and "faiss-cpu" not in pins
    for need in wanted:
        if "==" in need:
            name, version = need.split(";")[0].strip().split("==")
            assert pins[name] == version
    assert all(re.fullmatch(r"[\w.+!-]+", version) for version in pins.values())


# --- what is in them ------------------------------------------------------------------------------


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_nobody_is_root_and_prove_is_the_entry_point(dockerfile: Path) -> None:
    last_stage = [i for i, (name, _) in enumerate(instructions(dockerfile)) if name == "FROM"][-1]
    image = dict(instructions(dockerfile)[last_stage:])
    assert image["USER"].isdigit() and image["USER"] != "0"
    assert image["ENTRYPOINT"] == '["prove"]'
    assert "ADD" not in dict(instructions(dockerfile))


def ignored(path: str) -> bool:
    """Whether .dockerignore leaves a path out; the last pattern that fits decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line.startswith("#") or not line:
            continue
        parts = [re.escape(part).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*") for part in [pattern]]
        if re.fullmatch(f"{parts[0]}(?:/.*)?", path):
            verdict = not line.startswith("!")
    return verdict


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_all_that_is_copied_is_there_and_not_ignored(dockerfile: Path) -> None:
    for rest in arguments(dockerfile, "COPY"):
        if "--from=" in rest:
            continue
        *sources, _ = rest.split()
        for source in sources:
            assert (ROOT / source).exists() and not ignored(source), source


def test_neither_history_nor_caches_nor_secrets_reach_an_image() -> None:
    for path in (".git/config", ".venv/ready", "prover/__pycache__/a.pyc", "lean_project/.lake/x", ".env"):
        assert ignored(path), path
    assert ignored("prover/training/data/corpus.jsonl.xz")
    assert not ignored("prover/decoder/checkpoint/model.safetensors")


def test_needs_of_the_image_are_those_of_the_project() -> None:
    done = subprocess.run(
        [sys.executable, DOCKER / "needs.py", "serve"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == PROJECT["dependencies"] + PROJECT["optional-dependencies"]["serve"]


# --- compose --------------------------------------------------------------------------------------

COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))


def test_the_server_is_the_vllm_of_the_gpu_extra_and_of_this_machine_alone() -> None:
    (wanted,) = PROJECT["optional-dependencies"]["gpu"]
    server = COMPOSE["services"]["vllm"]
    assert server["image"] == f"vllm/vllm-openai:v{wanted.removeprefix('vllm==')}"
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])


def test_the_prover_is_built_from_this_repository_and_asks_that_server() -> None:
    prover = COMPOSE["services"]["prover"]
    build = prover["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    assert "--model=http://vllm:8000/v1" in prover["command"]
    assert prover["depends_on"]["vllm"]["condition"] == "service_healthy"


def test_the_provers_command_can_be_parsed() -> None:
    prover = COMPOSE["services"]["prover"]
    assert prover["entrypoint"] == ["prover"]
    assert prover["command"][:2] == ["eval", "run"]
    context = run.make_context("run", prover["command"][2:])
    assert context.params["prompt"] == "bfs-prover"
