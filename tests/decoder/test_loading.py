"""From options to a decoder that answers, and what is refused on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prover.choosing import needs_corpus
from prover.decoder.completion import Decoding
from prover.decoder.generator import Decoder
from prover.decoder.loading import opened_decoder, shows_context
from prover.decoder.options import DecoderOptions
from prover.decoder.whole_proofs import WholeProofs
from prover.errors import InputError, ModelUnavailable
from prover.generators.base import Query, Step, batch_size, content_hash
from tests.decoder.tiny import tiny_checkpoint, tiny_foreign
from tests.generators.samples import CORPUS, LENGTH, query


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint", context=1024)
    (folder / "training.json").write_text(json.dumps({"form": "history"}))
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")
    tiny_foreign(folder)
    return folder


def options(model: Path, prompt: str = "", **chosen: object) -> DecoderOptions:
    return DecoderOptions(str(model), prompt, samples=4, device="cpu", **chosen)  # type: ignore[arg-type]


def asked() -> Query:
    there = query(LENGTH)
    return Query(there.state, (Step((LENGTH.pretty,), "induction xs"),), "theorem t : True := by sorry", 3)


@pytest.mark.parametrize("form", ["", "goal", "history", "context", "whole"])
async def test_every_form_is_asked_and_answers_alike_each_time(checkpoint: Path, form: str) -> None:
    answers = []
    for _ in range(2):
        async with opened_decoder(options(checkpoint, form, decoding=Decoding.SAMPLE), CORPUS) as decoder:
            assert isinstance(decoder, WholeProofs if form == "whole" else Decoder)
            assert len(content_hash(decoder)) == 16 and batch_size(decoder) >= 1
            answers += await decoder.generate([asked(), asked()])
    first = {candidate.tactic: candidate.logprob for candidate in answers[0]}
    assert all(logprob <= 0.0 for logprob in first.values())
    for answer in answers[1:]:  # a prompt that is in the cache is computed otherwise, in the last digits
        assert {c.tactic: c.logprob for c in answer} == pytest.approx(first, abs=1e-3)


async def test_settings_are_part_of_the_hash(checkpoint: Path) -> None:
    hashes = set()
    for one in (options(checkpoint), options(checkpoint, "goal"), options(checkpoint, temperature=2.0)):
        async with opened_decoder(one, CORPUS) as decoder:
            hashes.add(content_hash(decoder))
    assert len(hashes) == 3


def test_only_the_context_form_needs_the_library(checkpoint: Path) -> None:
    assert not shows_context(options(checkpoint)) and shows_context(options(checkpoint, "context"))
    assert needs_corpus("portfolio+decoder", options(checkpoint, "context"))
    assert not needs_corpus("portfolio+decoder", options(checkpoint))
    assert needs_corpus("knn+decoder", options(checkpoint)) and not needs_corpus("portfolio")


async def test_a_model_of_others_is_asked_by_its_template(foreign: Path) -> None:
    async with opened_decoder(options(foreign, "llmstep", decoding=Decoding.SAMPLE), None) as decoder:
        assert isinstance(decoder, Decoder)
        await decoder.generate([asked()])
    with pytest.raises(InputError, match="doesn't know the marks"):
        async with opened_decoder(options(foreign, "goal"), None):
            pass


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "prompt", "said"),
    [
        ("nowhere/at/all", "goal", "nowhere"),
        ("", "", "There is no prompt template"),
        ("checkpoint", "riddle", "There is no prompt template 'riddle'"),
        ("http://127.0.0.1:1/v1", "goal", "name the template"),
        ("ftp:/what", "goal", "what"),
    ],
)
async def test_what_does_not_fit_is_refused(checkpoint: Path, model: str, prompt: str, said: str) -> None:
    given = DecoderOptions(str(checkpoint) if model == "checkpoint" else model or "no-such-model", prompt)
    with pytest.raises((InputError, ModelUnavailable), match=said):
        async with opened_decoder(given, CORPUS):
            pass


async def test_a_damaged_recipe_is_refused(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "checkpoint")
    (folder / "training.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        async with opened_decoder(options(folder), CORPUS):
            pass


async def test_the_context_form_without_a_library_is_refused(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="read them first"):
        async with opened_decoder(options(checkpoint, "context"), None):
            pass
