"""A training from end to end with a tiny model: it learns, it can be broken off, it ends in time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from torch.utils.data import DataLoader

from prover.cli.main import main
from prover.decoder.checkpoint import load_checkpoint
from prover.decoder.completion import Decoding, Sampling
from prover.decoder.prompts import PromptForm
from prover.decoder.transformers_backend import TransformersBackend
from prover.errors import InputError
from prover.training.accuracy import accuracy, questions
from prover.training.dataset import Row, RowMaker, bucketed, padded
from prover.training.examples import Corpus
from prover.training.recipe import Recipe
from prover.training.train import Job, train
from prover.training.trainer import _Stream, last_checkpoint, perplexity, rate_at, summed_loss
from tests.decoder.tiny import tiny_checkpoint, tiny_foreign
from tests.generators.samples import CORPUS as LIBRARY
from tests.training.toy import EIGHT, corpus_file, proof, recipe

HISTORY = PromptForm.HISTORY
SAID: list[str] = []


def job(folder: Path, **given: object) -> Job:
    """A training of eight proofs in ``folder/model``."""
    settings = {name: given.pop(name) for name in ("every", "resume") if name in given}
    data = corpus_file(folder)
    return Job(data, folder / "model", recipe(**given), **settings)  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


async def exact_match(folder: Path, form: PromptForm = HISTORY) -> float:
    loaded = load_checkpoint(str(folder))
    assert loaded.codec is not None
    backend = TransformersBackend(loaded)
    sampling = Sampling(4, Decoding.BEAM)
    asked = questions(EIGHT, form, 100, 0)
    found = await accuracy(backend, RowMaker(loaded.codec, 256), asked, form, sampling)
    await backend.close()
    assert found.questions == len(asked)
    return found.at_1


async def test_a_tiny_model_learns_eight_proofs_by_heart(tmp_path: Path) -> None:
    record = train(job(tmp_path, steps=100, rate=1e-2), SAID.append)
    folder = tmp_path / "model"
    assert await exact_match(folder) == 1.0
    assert record == json.loads((folder / "training.json").read_text())
    assert record["form"] == "history" and record["figures"]["steps"] == 100
    assert record["data"]["proofs"] == 8 and record["data"]["lean"] == "4.0.0"
    assert {t.dtype.itemsize for t in weights(folder).values()} == {2}
    assert "lm_head.weight" not in weights(folder)


# --- broken off -------------------------------------------------------------------------------------


class Killed(BaseException):
    """What stands for a process that is gone."""


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let no training come further than a step; returns how to be let go."""
    from prover.training import trainer

    taken = trainer._TimeLimit.on_step_end

    def end(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        taken(self, args, state, control, **kwargs)
        if state.global_step == step:
            raise Killed

    monkeypatch.setattr(trainer._TimeLimit, "on_step_end", end)
    return lambda: monkeypatch.setattr(trainer._TimeLimit, "on_step_end", taken)


def test_a_resumed_training_ends_as_if_it_had_never_been_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("once", "twice"):
        (tmp_path / name).mkdir()
    train(job(tmp_path / "once", steps=12, every=4), SAID.append)
    let_go = killed_at(10, monkeypatch)
    with pytest.raises(Killed):
        train(job(tmp_path / "twice", steps=12, every=4), SAID.append)
    let_go()
    folder = tmp_path / "twice" / "model"
    # The newest checkpoint is torn, as by a kill while it was written.
    (folder / "work" / "checkpoint-8" / "trainer_state.json").write_text('{"global_step": 8, "log')
    checkpoint = last_checkpoint(folder / "work")
    assert checkpoint is not None and checkpoint.name == "checkpoint-4"
    with pytest.raises(InputError, match="was broken off: go on with --resume"):
        train(job(tmp_path / "twice", steps=12, every=4), SAID.append)
    train(job(tmp_path / "twice", steps=12, every=4, resume=True), SAID.append)
    once, twice = weights(tmp_path / "once" / "model"), weights(folder)
    assert once.keys() == twice.keys()
    assert all(once[name].equal(twice[name]) for name in once)


def test_a_training_killed_after_its_last_step_is_only_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = train(job(tmp_path, steps=4, every=2), SAID.append)
    folder = tmp_path / "model"
    before = weights(folder)
    (folder / "model.safetensors").unlink()
    unfinished = {key: record[key] for key in ("format", "form", "recipe", "data")}
    (folder / "training.json").write_text(json.dumps(unfinished))
    assert train(job(tmp_path, steps=4, every=2, resume=True), SAID.append)["figures"]["steps"] == 4
    assert all(before[name].equal(tensor) for name, tensor in weights(folder).items())


def test_batches_made_by_other_processes_are_those_of_one(tmp_path: Path) -> None:
    for name, workers in (("none", 0), ("one", 1)):
        (tmp_path / name).mkdir()
        train(job(tmp_path / name, steps=6, workers=workers), SAID.append)
    none, one = (weights(tmp_path / name / "model") for name in ("none", "one"))
    assert all(none[name].equal(one[name]) for name in none)


def test_each_worker_has_epochs_of_its_own() -> None:
    class Numbered:
        def epoch(self, number: int) -> Iterator[int]:
            return iter((number, number))

    told = DataLoader(_Stream(Numbered()), batch_size=None, num_workers=2)
    assert list(islice(told, 8)) == [0, 1, 0, 1, 2, 3, 2, 3]


def test_time_is_up(tmp_path: Path) -> None:
    record = train(job(tmp_path, minutes=0.02), SAID.append)
    assert 0 < record["figures"]["steps"] < 2000
    assert 0.02 <= record["figures"]["minutes"] < 1.0
    assert load_checkpoint(str(tmp_path / "model")).codec is not None


def test_the_rate_rises_and_falls_by_steps_or_by_the_clock() -> None:
    by_steps = recipe(steps=100, warmup=10)
    rates = [rate_at(by_steps, step, 0.0) for step in range(101)]
    assert rates[0] < 0.1 and max(rates) == max(rates[8:14]) and rates[100] == pytest.approx(0.05)
    by_clock = recipe(minutes=2.0, warmup=0)
    assert [rate_at(by_clock, 9, minutes) for minutes in (0.0, 1.0, 2.0, 3.0)] == pytest.approx(
        [1.0, 0.525, 0.05, 0.05]
    )


# --- the loss ---------------------------------------------------------------------------------------


def test_the_loss_is_that_of_the_model_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prover.training import trainer

    monkeypatch.setattr(trainer, "fast_in_bfloat16", lambda device: False)
    loaded = load_checkpoint(str(tiny_checkpoint(tmp_path)), "cpu", "float32")
    rows = [
        Row((8, 9, 10, 11, 12), (False, False, True, True, True), "goal"),
        Row((13, 14, 15), (False, True, True), "goal"),
    ]
    batch = padded(rows, 0)
    loss, learned = summed_loss(loaded.model, batch)
    assert learned == 5
    assert float(loss) / 5 == pytest.approx(float(loaded.model(**batch).loss), rel=1e-5)
    # Padding changes nothing.
    alone = sum(float(summed_loss(loaded.model, padded([row], 0))[0]) for row in rows)
    assert float(loss) == pytest.approx(alone, rel=1e-5)
    together = perplexity(loaded.model, list(bucketed(rows, 100)), 0)
    assert together == pytest.approx(math.exp(float(loss) / 5), rel=1e-5)


# --- fine-tuning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [0, 4])
def test_a_model_with_another_tokenizer_learns_our_marks(tmp_path: Path, lora: int) -> None:
    base = tmp_path / "base"
    base.mkdir()
    tiny_foreign(base)
    asked = job(tmp_path, shape=None, base=str(base), lora=lora, steps=6, length=128, every=3)
    record = train(asked, SAID.append)
    loaded = load_checkpoint(str(tmp_path / "model"))
    assert loaded.codec is not None and loaded.max_context == 128
    assert record["recipe"]["base"] == str(base)


def test_a_checkpoint_of_ours_goes_on_with_lora(tmp_path: Path) -> None:
    base = tiny_checkpoint(tmp_path / "base", hidden_size=64)
    train(job(tmp_path, shape=None, base=str(base), lora=16, steps=40, rate=2e-2), SAID.append)
    assert on_eight(tmp_path / "model") < on_eight(base) / 5


def on_eight(folder: Path) -> float:
    """The perplexity of the eight proofs."""
    loaded = load_checkpoint(str(folder))
    assert loaded.codec is not None
    maker = RowMaker(loaded.codec, 256)
    rows = [row for each in EIGHT for row in maker.rows(each, HISTORY)]
    return perplexity(loaded.model, list(bucketed(rows, 1024)), loaded.codec.pad_id)


# --- what is at fault -------------------------------------------------------------------------------


def test_what_does_not_go_together_is_told(tmp_path: Path) -> None:
    for given, message in (
        ({}, "how long to train"),
        ({"steps": 1, "lora": 4}, "name it with --from"),
        ({"steps": 1, "length": 4096}, "does not fit a batch"),
        ({"steps": 1, "shape": replace(recipe().shape or Recipe().shape, heads=3)}, "do not part"),
        ({"steps": 1, "shape": None, "base": str(tmp_path / "none")}, "no tokenizer"),
        ({"steps": 1, "forms": {PromptForm.CONTEXT: 1.0}}, "has not been read yet"),
    ):
        with pytest.raises(InputError, match=message):
            train(job(tmp_path, **given), SAID.append)  # type: ignore[arg-type]
        for leftover in ("training.json",):
            (tmp_path / "model" / leftover).unlink(missing_ok=True)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    asked = job(tmp_path, steps=2)
    asked.out.mkdir()
    (asked.out / "thesis.txt").write_text("")
    with pytest.raises(InputError, match="holds something else"):
        train(asked, SAID.append)
    (asked.out / "training.json").write_text("{}")
    with pytest.raises(InputError, match="no record of a training"):
        train(asked, SAID.append)


def test_another_training_is_not_gone_on_with(tmp_path: Path) -> None:
    train(job(tmp_path, steps=2), SAID.append)
    with pytest.raises(InputError, match="is finished"):
        train(job(tmp_path, steps=2, resume=True), SAID.append)
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    del record["figures"]
    (tmp_path / "model" / "training.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"another training: steps 2 \(now 3\)"):
        train(job(tmp_path, steps=3, resume=True), SAID.append)
    corpus_file(tmp_path, Corpus(EIGHT[:4], (), "4.0.0"))
    other = Job(tmp_path / "corpus.jsonl.xz", tmp_path / "model", recipe(steps=2), resume=True)
    with pytest.raises(InputError, match="on other data"):
        train(other, SAID.append)


# --- the command line -------------------------------------------------------------------------------


def test_train_and_accuracy_from_the_command_line(tmp_path: Path) -> None:
    proofs = tuple(proof(i, "rfl", f"exact h{i}", module=f"M{i % 40}") for i in range(120))
    data = corpus_file(tmp_path, Corpus(proofs, (), "4.0.0"))
    LIBRARY.save(tmp_path / "library.jsonl.gz")
    out = str(tmp_path / "model")
    shape = {"hidden": 32, "layers": 1, "heads": 2, "ffn": 32, "vocabulary": 320}
    sizes = {**shape, "length": 256, "batch": 2048, "every": 3}
    tiny = [part for name, size in sizes.items() for part in (f"--{name}", str(size))]
    paths = ["--data", str(data), "--premises", str(tmp_path / "library.jsonl.gz")]
    given = ["train", *paths, "--out", out, "--steps", "6", "--held-out", "0.2", "--declarations", "0.5"]
    result = CliRunner().invoke(main, [*given, *tiny])
    assert result.exit_code == 0, result.output
    assert "held out" in result.stderr and "step 6" in result.stderr and "6 steps" in result.stdout
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert set(record["figures"]["held_out_perplexity"]) == set(PromptForm)
    result = CliRunner().invoke(main, ["accuracy", out, *paths, "--limit", "4", "--samples", "2", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert set(found) == set(PromptForm) and found["goal"]["questions"] == 4
    assert found["history"]["perplexity"] == pytest.approx(
        record["figures"]["held_out_perplexity"]["history"], rel=0.02
    )
    result = CliRunner().invoke(main, [*given, *tiny])
    assert result.exit_code == 2 and "is finished" in result.stderr


def test_errors_are_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["accuracy", str(tmp_path), "--data", str(corpus_file(tmp_path))])
    assert result.exit_code == 2 and "prover: " in result.stderr and "has finished" in result.stderr
    result = CliRunner().invoke(
        main, ["train", "--out", str(tmp_path / "m"), "--data", "nowhere.xz", "--steps", "1"]
    )
    assert result.exit_code == 2 and "there is no corpus" in result.stderr
