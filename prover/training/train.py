"""One training from end to end: read the corpus, make the model, train it, write the checkpoint.

A training's folder holds ``training.json`` from the start, with all that the result depends on; the work in
progress is under ``work``. What is there at the end beside that folder is a checkpoint like any other.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prover.decoder.loading import CONTEXT
from prover.decoder.options import RECIPE
from prover.decoder.prompts import PromptForm, bare
from prover.errors import InputError
from prover.extras import check_installed
from prover.premises import PremiseCorpus, corpus_path
from prover.theorem_file import write_atomically
from prover.training.applying import applications
from prover.training.dataset import Batches, Mix, Retrieve, Row, RowMaker, bucketed, divided
from prover.training.declarations import Exercise, copies, exercises
from prover.training.episodes import Episodes, Step, stories
from prover.training.examples import Corpus, Failure, Proof, read_corpus
from prover.training.lessons import Lesson, lessons
from prover.training.recipe import Recipe, as_json, difference, file_hash, versions

if TYPE_CHECKING:
    from prover.training.trainer import AnswerTrainer

FORMAT = "prover training 1"
_PACKAGES = ("torch", "transformers", "tokenizers", "accelerate")

#: Held-out proofs that are measured with, of each form.
_MEASURED = 200
#: Tokens of a document of declarations.
_DOCUMENT = 512

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A training that was asked for."""

    data: Path
    out: Path
    recipe: Recipe
    #: The library's declarations; None: those that the cache holds for the corpus's Lean.
    premises: Path | None = None
    #: Steps between two measurements, each with a checkpoint.
    every: int = 200
    resume: bool = False


def train(job: Job, tell: Tell) -> dict[str, Any]:
    """Train a model and return what ``training.json`` says of it.

    Raises:
        InputError: the corpus, the folder, the base or the recipe is at fault.
    """
    job.recipe.check()
    _check_packages(job.recipe)
    corpus = read_corpus(job.data)
    record = _begun(job, corpus)
    library = _library(job, corpus)
    proofs, kept_out = divided(corpus.proofs, job.recipe.held_out, job.recipe.seed)
    if not proofs:
        raise InputError(f"{job.data} holds no proof of the training split: collect some first")
    tell(f"{len(proofs)} proofs to learn from, {len(kept_out)} held out")
    trainer, tokenizer = _prepared(job, proofs, corpus.failures, kept_out, library, tell)
    from prover.training.trainer import last_checkpoint

    trainer.train_from(last_checkpoint(job.out / "work") if job.resume else None)
    return _finished(job, record, trainer, tokenizer)


def _check_packages(recipe: Recipe) -> None:
    check_installed("training", "train", "accelerate", "tensorboard", *(["peft"] if recipe.lora else []))


# --- the folder -----------------------------------------------------------------------------------


def _begun(job: Job, corpus: Corpus) -> dict[str, Any]:
    """Begin the folder's record, or take up the one that is there."""
    record: dict[str, Any] = {
        "format": FORMAT,
        "form": job.recipe.form,
        "recipe": as_json(job.recipe),
        "data": {
            "hash": file_hash(job.data),
            "proofs": len(corpus.proofs),
            "steps": sum(len(proof.steps) for proof in corpus.proofs),
            "lean": corpus.lean,
        },
    }
    record = json.loads(json.dumps(record))  # as it will be read
    there = read_record(job.out)
    if there is None:
        if job.out.exists() and any(job.out.iterdir()):
            raise InputError(f"{job.out} holds something else: choose another folder")
        job.out.mkdir(parents=True, exist_ok=True)
        _write(job.out, record)
    else:
        _check_same(job, there, record)
    return record


def _check_same(job: Job, there: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    if "figures" in there:
        raise InputError(f"{job.out} holds a training that is finished: choose another folder")
    if not job.resume:
        raise InputError(f"{job.out} holds a training that was broken off: go on with --resume")
    if there["data"] != record["data"]:
        raise InputError(f"{job.out} holds a training on other data: choose another folder")
    if changed := difference(job.recipe, there["recipe"]):
        raise InputError(f"{job.out} holds another training: {changed}. Choose another folder")


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return what ``training.json`` says; None when there is none.

    Raises:
        InputError: it is no record of a training.
    """
    try:
        record: dict[str, Any] = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise ValueError(record["format"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / RECIPE} is no record of a training ({error})") from error
    return record


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    text = json.dumps(record, ensure_ascii=False, indent=2) + "\n"
    write_atomically(folder / RECIPE, text.encode())


# --- what is learned from -------------------------------------------------------------------------


def _library(job: Job, corpus: Corpus) -> PremiseCorpus | None:
    """The library's declarations, if anything in the recipe shows them."""
    recipe = job.recipe
    if (
        not recipe.declarations
        and not recipe.copies
        and not recipe.applied
        and not recipe.memory
        and PromptForm.CONTEXT not in recipe.forms
    ):
        return None
    return library_of(job.premises, corpus.lean)


def library_of(premises: Path | None, lean: str) -> PremiseCorpus:
    """Load the library's declarations: from this file, or those that the cache holds for this Lean.

    Raises:
        InputError: there are none.
    """
    path = premises or corpus_path(lean)
    if not path.exists():
        raise InputError(
            f"The library has not been read yet ({path}): run `prover eval extract` first, or do without "
            "the form context and without --declarations"
        )
    return PremiseCorpus.load(path)


def retriever(library: PremiseCorpus) -> Retrieve:
    """Find declarations for the context form among those that a proof can see.

    A library theorem sees what its module imports. A synthetic one was made of a theorem of its module, and
    sees that too.
    """
    from prover.decoder.context import ContextIndex

    index = ContextIndex(library.premises)

    @cache
    def found(goal: str, module: str, sees_own: bool) -> Sequence[str]:
        modules = library.accessible(module) if module in library.order else frozenset[str]()
        return index.near(goal, modules | {module} if sees_own else modules, CONTEXT)

    # A goal comes again in other proofs, and in every epoch.
    return lambda goal, proof: found(goal, proof.module, proof.source == "synthetic")


def _texts(proofs: Sequence[Proof], library: PremiseCorpus | None) -> Iterator[str]:
    """What a tokenizer learns its tokens from: each text once a proof, and declarations of their modules."""
    for proof in proofs:
        yield bare(proof.statement)
        yield from dict.fromkeys(goal for step in proof.steps for goal in step.goals)
        yield from proof.script
    modules = {proof.module for proof in proofs}
    premises = library.premises if library else ()
    yield from (f"{d.name} : {d.type}" for d in premises if d.module in modules)


# --- the work -------------------------------------------------------------------------------------


def _prepared(
    job: Job,
    proofs: Sequence[Proof],
    failures: Sequence[Failure],
    kept_out: Sequence[Proof],
    library: PremiseCorpus | None,
    tell: Tell,
) -> tuple[AnswerTrainer, Any]:
    """Make the tokenizer (or take up the one of a resumed training), the model, and what trains it."""
    from transformers.utils import logging

    from prover.decoder.codec import Codec
    from prover.training.models import model_for
    from prover.training.trainer import AnswerTrainer, Clock, last_checkpoint, minutes_of

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    recipe, work = job.recipe, job.out / "work"
    tokenizer = _tokenizer(job, proofs, library)
    codec = Codec(tokenizer)
    maker = RowMaker(codec, recipe.length, retriever(library) if library else None)
    model = model_for(recipe, tokenizer)
    tell(f"{model.num_parameters() / 1e6:.1f} million parameters, {len(tokenizer)} tokens")
    checkpoint = last_checkpoint(work) if job.resume else None
    clock = Clock(minutes_of(checkpoint) if checkpoint else 0.0)
    rest = (codec.pad_id, work, job.every, clock, tell)
    if recipe.memory:
        from prover.training.memory_trainer import MemoryTrainer

        assert library is not None, "documents are made of it"
        told, steps = _documents(maker, proofs, kept_out, failures, library, recipe)
        return MemoryTrainer(recipe, model, told, {"documents": steps} if steps else {}, *rest), tokenizer
    batches = _batches(maker, proofs, failures, library, recipe)
    measured = {f.value: rows for f in recipe.forms if (rows := measuring(maker, kept_out, f, recipe))}
    return AnswerTrainer(recipe, model, batches, measured, *rest), tokenizer


def _batches(
    maker: RowMaker,
    proofs: Sequence[Proof],
    failures: Sequence[Failure],
    library: PremiseCorpus | None,
    recipe: Recipe,
) -> Batches:
    """The batches; of the library come only modules that proofs are learned from."""
    mix = Mix(**{field.name: getattr(recipe, field.name) for field in fields(Mix)})
    learned, count, length = {proof.module for proof in proofs}.__contains__, maker.codec.count, recipe.length
    told: list[list[Exercise]] = []
    copied: list[Exercise] = []
    applied: list[Lesson] = []
    if library is not None:
        if recipe.declarations:
            told = exercises(library, learned, min(_DOCUMENT, length), count)
        if recipe.copies:
            copied = list(copies(library, learned, length, count, recipe.seed))
        if recipe.applied:
            applied = applications(library, learned)
    taught = lessons(proofs, failures) if recipe.lessons else []
    return Batches(maker, proofs, mix, recipe.batch, recipe.seed, told, taught, copied, applied)


def _documents(
    maker: RowMaker,
    proofs: Sequence[Proof],
    kept_out: Sequence[Proof],
    failures: Sequence[Failure],
    library: PremiseCorpus,
    recipe: Recipe,
) -> tuple[Episodes, list[Step]]:
    """The documents to train on, and those to measure with, told once and by their own names."""
    failed = list(failures)
    # A model that is asked with declarations in front of it is not to forget them over its memory.
    forms = [form for form in (PromptForm.HISTORY, PromptForm.CONTEXT) if form in recipe.forms]
    told = Episodes(
        maker,
        stories(lessons(proofs, failed), library),
        recipe.slots,
        recipe.seed,
        forms=forms or [PromptForm.HISTORY],
    )
    measured = stories(lessons(kept_out, failed), library)
    return told, list(Episodes(maker, measured, 1, recipe.seed, renames=0.0).epoch(0))


def _tokenizer(job: Job, proofs: Sequence[Proof], library: PremiseCorpus | None) -> Any:
    from prover.training.models import tokenizer_for
    from prover.training.tokenizer import load_tokenizer

    if job.resume and (job.out / "tokenizer.json").exists():
        return load_tokenizer(job.out)
    tokenizer = tokenizer_for(job.recipe, _texts(proofs, library))
    tokenizer.save_pretrained(job.out)
    return tokenizer


def measuring(maker: RowMaker, proofs: Sequence[Proof], form: PromptForm, recipe: Recipe) -> list[list[Row]]:
    """Batches of held-out proofs, a few of them, in one form."""
    few = random.Random(recipe.seed).sample(proofs, min(_MEASURED, len(proofs)))
    return list(bucketed([row for proof in few for row in maker.rows(proof, form)], recipe.batch))


def _finished(job: Job, record: dict[str, Any], trainer: AnswerTrainer, tokenizer: Any) -> dict[str, Any]:
    """Write the checkpoint, then the record with its figures: without them, it is not finished."""
    import torch

    from prover.training.models import merged

    prefix = "eval_perplexity_"
    perplexity = {k.removeprefix(prefix): round(v, 4) for k, v in trainer.evaluate().items()}
    model = merged(trainer.model)
    figures = {
        "steps": trainer.state.global_step,
        "tokens": trainer.state.num_input_tokens_seen,
        "minutes": round(trainer.minutes, 2),
        "parameters": model.num_parameters(),
        "held_out_perplexity": perplexity,
        "device": trainer.args.device.type,
    }
    model.to(torch.bfloat16).save_pretrained(job.out)
    tokenizer.save_pretrained(job.out)
    record = {**record, "figures": figures, "versions": versions(_PACKAGES)}
    _write(job.out, record)
    return record
