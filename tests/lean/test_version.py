"""What `lean --version` says, and what is known of the tactic server under that Lean."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prover.lean.toolchain import EMBEDDED_VERSION
from prover.lean.version import RECOMMENDED, TESTED, LeanVersion, is_possible, objection, parse_version

NUMBERS = st.integers(min_value=0, max_value=10**9 - 1)
SUFFIXES = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z.-]{0,20}", fullmatch=True)
VERSIONS = st.builds(LeanVersion, NUMBERS, NUMBERS, NUMBERS, st.just("") | SUFFIXES)


@given(VERSIONS)
def test_what_lean_says_is_read(version: LeanVersion) -> None:
    said = f"Lean (version {version}, x86_64-unknown-linux-gnu, commit 7d01b5cae5a4, Release)\n"
    assert parse_version(said) == version
    assert parse_version(f"info: downloading component 'lean'\n{said}") == version


@given(st.text())
@example("Lean (version 4.28)")
@example("Lake version 5.0.0-src+abc (Lean version 4.28)")
def test_nothing_else_is_taken_for_a_version(said: str) -> None:
    version = parse_version(said)
    assert version is None or str(version) in said


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("Lean (version 4.28.0, x86_64-unknown-linux-gnu, commit 7d, Release)", LeanVersion(4, 28, 0)),
        ("Lean (version 4.29.0-rc2, arm64-apple-darwin, commit 7d)", LeanVersion(4, 29, 0, "rc2")),
        ("Lean (version 4.30.0-nightly-2026-05-01, commit 1)", LeanVersion(4, 30, 0, "nightly-2026-05-01")),
        ("Lean (version 3.51.1, commit cce7990ea86a, Release)", LeanVersion(3, 51, 1)),
        ("zsh: command not found: lean", None),
    ],
)
def test_versions(said: str, version: LeanVersion | None) -> None:
    assert parse_version(said) == version


def test_what_is_known_of_each() -> None:
    assert objection(RECOMMENDED) == objection(LeanVersion(4, 28, 1, "rc1")) == ""
    for near in (LeanVersion(4, 27, 0), LeanVersion(4, 29, 0), LeanVersion(5, 28, 0)):
        assert is_possible(near)
        assert f"Lean {near}" in objection(near) and "tested with 4.28.0-pre only" in objection(near)
    for old in (LeanVersion(4, 24, 1), LeanVersion(3, 51, 1)):
        assert not is_possible(old) and "needs 4.25 or newer" in objection(old)
        assert "--lean embedded" in objection(old)


def test_the_embedded_lean_is_among_the_tested_ones() -> None:
    assert EMBEDDED_VERSION in map(str, TESTED)
