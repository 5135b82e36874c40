"""How often a model says what the proof says: exact match on held-out proofs, through any backend."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prover.decoder.completion import Backend, Completion, Decoding, Sampling
from prover.decoder.loading import PROOF_TOKENS, TACTIC_TOKENS
from prover.decoder.prompts import PromptForm
from prover.decoder.whole import own_tactics_of
from prover.errors import InputError
from prover.training.dataset import RowMaker, divided
from prover.training.examples import Proof, read_corpus
from prover.training.recipe import Recipe

#: Prompts asked at once.
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Question:
    """A place in a proof, and the tactics that are the right answer there: one, or the whole proof."""

    proof: Proof
    place: int
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often the right answer was there, as shares."""

    questions: int
    #: Foremost, among the first ten, and among all that were drawn.
    at_1: float
    at_10: float
    at_all: float


def questions(proofs: Sequence[Proof], form: PromptForm, limit: int, seed: int) -> list[Question]:
    """Draw steps of proofs, or proofs for the form ``whole``, and return them in order."""
    if form is PromptForm.WHOLE:
        found = [Question(proof, 0, proof.script) for proof in proofs]
    else:
        found = [Question(p, i, (step.tactic,)) for p in proofs for i, step in enumerate(p.steps)]
    chosen = random.Random(seed).sample(range(len(found)), min(limit, len(found)))
    return [found[place] for place in sorted(chosen)]


async def accuracy(
    backend: Backend, maker: RowMaker, asked: Sequence[Question], form: PromptForm, sampling: Sampling
) -> Accuracy:
    """Ask a model, and hold its answers against the proofs.

    Answers are ranked by their log-probabilities, equal ones counting once; white space at their ends does
    not count. A tactic that differs may prove the goal as well: this is a lower bound of what it can do.

    Raises:
        ModelUnavailable: the model cannot be run.
    """
    ranks: list[int | None] = []
    for start in range(0, len(asked), _BATCH):
        part = asked[start : start + _BATCH]
        prompts = [maker.prompt(question.proof, question.place, form) for question in part]
        answers = await backend.complete(prompts, sampling, list(range(start, start + len(part))))
        ranks += [_rank(q.expected, found) for q, found in zip(part, answers, strict=True)]
    places = [rank for rank in ranks if rank is not None]
    shares = {best: sum(rank < best for rank in places) / max(1, len(ranks)) for best in (1, 10, sampling.n)}
    return Accuracy(len(ranks), shares[1], shares[10], shares[sampling.n])


def _rank(expected: tuple[str, ...], completions: Sequence[Completion]) -> int | None:
    """The place of the right answer, from 0."""
    ranked = sorted((c for c in completions if c.finished), key=lambda c: -c.logprob)
    answers = list(dict.fromkeys(own_tactics_of(c.text) for c in ranked))
    wanted = tuple(tactic.strip() for tactic in expected)
    return answers.index(wanted) if wanted in answers else None


# --- a checkpoint ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is asked about a checkpoint of ours."""

    checkpoint: Path
    data: Path
    premises: Path | None = None
    #: () is what it was trained on.
    forms: tuple[PromptForm, ...] = ()
    #: Questions of each form.
    limit: int = 300
    samples: int = 16
    decoding: Decoding = Decoding.BEAM


async def measure(asked: Measurement) -> dict[str, dict[str, Any]]:
    """Return, for each form, the accuracy and the perplexity on modules held out when it was trained.

    Raises:
        InputError: it is no checkpoint of our training, or the data is at fault.
        ModelUnavailable: it cannot be run.
    """
    from prover.decoder.checkpoint import load_checkpoint
    from prover.decoder.transformers_backend import TransformersBackend
    from prover.training.train import library_of, read_record, retriever

    record = read_record(asked.checkpoint)
    if record is None or "figures" not in record:
        raise InputError(f"{asked.checkpoint} holds no model that `prover train` has finished")
    recipe = Recipe(**{**record["recipe"], "shape": None})
    corpus = read_corpus(asked.data)
    _, proofs = divided(corpus.proofs, recipe.held_out, recipe.seed)
    if not proofs:
        raise InputError(
            f"no module of {asked.data} was held out from {asked.checkpoint}: nothing to measure"
        )
    forms = asked.forms or tuple(map(PromptForm, recipe.forms))
    library = library_of(asked.premises, corpus.lean) if PromptForm.CONTEXT in forms else None
    loaded = load_checkpoint(str(asked.checkpoint))
    if loaded.codec is None:
        raise InputError(f"the tokenizer in {asked.checkpoint} lacks our marks: it belongs to another model")
    length = min(recipe.length, loaded.max_context)
    maker = RowMaker(loaded.codec, length, retriever(library) if library else None)
    backend = TransformersBackend(loaded)
    try:
        return {
            form.value: await _of_form(asked, recipe, backend, maker, proofs, form, loaded) for form in forms
        }
    finally:
        await backend.close()


async def _of_form(
    asked: Measurement,
    recipe: Recipe,
    backend: Backend,
    maker: RowMaker,
    proofs: Sequence[Proof],
    form: PromptForm,
    loaded: Any,
) -> dict[str, Any]:
    from prover.training.train import measuring
    from prover.training.trainer import perplexity

    tokens = PROOF_TOKENS if form is PromptForm.WHOLE else TACTIC_TOKENS
    sampling = Sampling(asked.samples, asked.decoding, max_tokens=tokens)
    chosen = questions(proofs, form, asked.limit, recipe.seed)
    found = asdict(await accuracy(backend, maker, chosen, form, sampling))
    rows = measuring(maker, proofs, form, recipe)
    return found | {"perplexity": perplexity(loaded.model, rows, maker.codec.pad_id)}


def as_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures for people, a form a line."""
    head = f"{'form':<10}{'questions':>10}{'@1':>8}{'@10':>8}{'@all':>8}{'perplexity':>12}"
    lines = (
        f"{form:<10}{f['questions']:>10}{f['at_1']:>8.1%}{f['at_10']:>8.1%}{f['at_all']:>8.1%}"
        f"{f['perplexity']:>12.3f}"
        for form, f in found.items()
    )
    return "\n".join([head, *lines])
