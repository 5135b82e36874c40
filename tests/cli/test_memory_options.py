"""What a decoder is to remember, from the command line to the agent's options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from prover.cli import job, prove
from prover.cli.arguments import Arguments
from prover.cli.decoder_options import decoder_options
from prover.decoder.options import MEMORIES, DecoderOptions


def asked(*given: str) -> Any:
    """The options of a decoder that a command line gives."""

    @click.command()
    @decoder_options
    def command(decoder: DecoderOptions) -> DecoderOptions:
        return decoder

    return CliRunner().invoke(command, given, standalone_mode=False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], None),
        (["--memory", "none"], ()),
        (["--memory", "file"], ("file",)),
        (["--memory", "failures,library,failures"], ("library", "failures")),
        (["--memory", ",".join(MEMORIES)], MEMORIES),
        (["--memory", "all"], MEMORIES),
    ],
)
def test_kinds_are_named(given: list[str], expected: tuple[str, ...] | None) -> None:
    assert asked(*given).return_value.memory == expected


@pytest.mark.parametrize("given", ["", "lemmas", "file,none", "file,"])
def test_other_names_are_refused(given: str) -> None:
    error = asked("--memory", given).exception
    assert isinstance(error, click.UsageError) and "choose of library, file" in str(error)


def test_remember_reaches_the_agents_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Arguments] = []
    monkeypatch.setattr(job, "run", lambda arguments: seen.append(arguments) or 0)
    runner = CliRunner()
    assert runner.invoke(prove.main, ["-e", "True", "--remember", str(tmp_path)]).exit_code == 0
    assert runner.invoke(prove.main, ["-e", "True", "--memory", "steps"]).exit_code == 0
    first, second = seen
    assert (first.remember, second.remember) == (tmp_path, None)
    assert (first.decoder.memory, second.decoder.memory) == (None, ("steps",))
    assert job._options(first).remember == tmp_path
