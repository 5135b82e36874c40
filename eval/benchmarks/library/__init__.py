"""Theorems of the Lean library itself: the agent's home benchmark.

Each is proved where its author stood: with what its module imports, and nothing else. The split is by module,
so that no theorem of a module is learned from while another is asked for. ``extract.py`` made the files here.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from eval.benchmarks.base import Problem, Split
from eval.benchmarks.library.extract import candidates, split_of
from prover.errors import InputError
from prover.premises import PremiseCorpus, corpus_path

FOLDER = Path(__file__).parent


class Library:
    """``library``: 500 theorems of valid, 500 of test, and all there are of train."""

    name = "library"

    @cached_property
    def about(self) -> dict[str, Any]:
        """Version, seed, the Lean it was made from, and counts."""
        about: dict[str, Any] = json.loads((FOLDER / "benchmark.json").read_text(encoding="utf-8"))
        return about

    @property
    def version(self) -> str:
        return str(self.about["version"])

    def problems(self, split: Split) -> list[Problem]:
        """Return the problems of a split, by position.

        Raises:
            InputError: the training theorems were asked for, and the library has not been read yet.
        """
        if split is Split.TRAIN:
            return self._train()
        lines = (FOLDER / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        return [self._problem(split, **json.loads(line)) for line in lines]

    @cached_property
    def corpus(self) -> PremiseCorpus:
        """The library's premises, as they were read.

        Raises:
            InputError: the library has not been read yet.
        """
        path = corpus_path(self.about["lean"])
        if not path.exists():
            raise InputError("The library has not been read yet: run `prover eval extract` first.")
        return PremiseCorpus.load(path)

    def _train(self) -> list[Problem]:
        theorems = candidates(self.corpus)
        return [
            self._problem(Split.TRAIN, t.name, t.module, t.statement, t.position)
            for t in theorems
            if split_of(t.module, self.about["seed"]) is Split.TRAIN
        ]

    def _problem(self, split: Split, name: str, module: str, statement: str, position: int) -> Problem:
        area = ".".join(module.split(".")[:3])
        return Problem(
            id=name,
            benchmark=self.name,
            version=self.version,
            split=split,
            module=module,
            header="",
            statement=statement,
            tags=(f"area:{area}",),
            source=f"Lean {self.about['lean']}",
            position=position,
        )
