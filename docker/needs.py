"""Prints what pyproject.toml depends on, a requirement a line, with some extras: ``needs.py serve``.

An image installs these in a layer of their own, which is kept for as long as they stay the same.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def needs(extras: list[str]) -> list[str]:
    """The requirements of the project next to us, with those of some extras."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["dependencies"] + [
        need for extra in extras for need in project["optional-dependencies"][extra]
    ]


if __name__ == "__main__":
    print(*needs(sys.argv[1:]), sep="\n")
