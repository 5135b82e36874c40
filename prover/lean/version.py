"""Which Lean a toolchain is, and whether the tactic server is known to run under it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SAID = re.compile(r"\bversion (\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([0-9A-Za-z][0-9A-Za-z.-]*))?")


@dataclass(frozen=True, slots=True)
class LeanVersion:
    """For example 4.28.0-rc1; ``suffix`` is what stands behind the hyphen, or ""."""

    major: int
    minor: int
    patch: int
    suffix: str = ""

    @property
    def release(self) -> tuple[int, int]:
        """What has interfaces of its own: the major and the minor number."""
        return self.major, self.minor

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}" + (f"-{self.suffix}" if self.suffix else "")


#: All that the tactic server has really run under (it is the embedded one; see docs/toolchains.md).
TESTED = (LeanVersion(4, 28, 0, "pre"),)
#: The toolchain that ``lean_project/lean-toolchain`` names.
RECOMMENDED = LeanVersion(4, 28, 0)
#: Releases before this one have no `String.Pos.Raw`, which the server's sources use.
FIRST_POSSIBLE = (4, 25)


def parse_version(said: str) -> LeanVersion | None:
    """Read what ``lean --version`` prints; None when no version is in it."""
    found = _SAID.search(said)
    if found is None:
        return None
    major, minor, patch, suffix = found.groups()
    return LeanVersion(int(major), int(minor), int(patch), suffix or "")


def is_possible(version: LeanVersion) -> bool:
    """Whether the tactic server can compile under it, as far as is known."""
    return version.release >= FIRST_POSSIBLE


def is_tested(version: LeanVersion) -> bool:
    """Whether the server has run under a Lean of the same major and minor number."""
    return version.release in [one.release for one in TESTED]


def objection(version: LeanVersion) -> str:
    """Say what speaks against a Lean, and what to do; "" when nothing does."""
    advice = (
        f"put leanprover/lean4:v{RECOMMENDED} into the project's lean-toolchain, or take the embedded Lean "
        "with --lean embedded (it has no Mathlib)"
    )
    if not is_possible(version):
        first = ".".join(map(str, FIRST_POSSIBLE))
        return f"this is Lean {version}, and the tactic server needs {first} or newer: {advice}."
    if not is_tested(version):
        tested = ", ".join(map(str, TESTED))
        return (
            f"this is Lean {version}, and the tactic server was tested with {tested} only. "
            f"If it does not start, {advice}."
        )
    return ""
