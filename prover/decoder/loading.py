"""From what a person chose to a decoder that can be asked: the model, its prompts, its engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prover.decoder.completion import Backend, Decoding, RecallingBackend, Sampling
from prover.decoder.generator import Decoder
from prover.decoder.options import SAMPLES, SHIPPED_CHECKPOINT, DecoderOptions, recipe_of
from prover.decoder.prompts import PromptForm
from prover.decoder.recall import GuideSource, MemorySource
from prover.decoder.templates import Template, template_for
from prover.decoder.whole import own_tactics_of
from prover.decoder.whole_proofs import WholeProofs
from prover.decoder.writers import OwnWriter, Retriever, TemplateWriter, Writer, no_context
from prover.errors import InputError
from prover.generators.base import Query, TacticGenerator

if TYPE_CHECKING:
    from prover.decoder.checkpoint import LoadedModel
    from prover.premises import PremiseCorpus

#: Declarations that a context prompt shows.
CONTEXT = 8
#: Tokens of a tactic and of a whole proof, at most.
TACTIC_TOKENS, PROOF_TOKENS = 96, 512
#: Tokens of a prompt and its answer on a server that does not say how many it takes.
SERVER_CONTEXT = 4096
#: States that a search asks about at once. A processor is no quicker with several than one after the other
#: (benchmarks/decoder.py), and those asked about ahead of their turn may never have it.
ON_CPU, ON_GPU = 1, 8


@dataclass(frozen=True, slots=True)
class _Prompting:
    """How a model is asked: by a form of our own, or by a template."""

    form: PromptForm
    template: Template | None
    sampling: Sampling


def shows_context(options: DecoderOptions) -> bool:
    """Say whether the prompts show accessible declarations, which are then to be known.

    Raises:
        InputError: there is no such model or prompt.
    """
    return _prompting(options).form is PromptForm.CONTEXT


async def load_model(options: DecoderOptions) -> LoadedModel:
    """Load the model that is to be run in process by transformers.

    Raises:
        InputError: there is no such model.
        ModelUnavailable: it cannot be run.
    """
    from prover.decoder.checkpoint import load_checkpoint

    _leave_cores_to_lean()
    model = options.model or str(SHIPPED_CHECKPOINT)
    return await asyncio.to_thread(load_checkpoint, model, options.device or None, options.dtype or None)


@asynccontextmanager
async def opened_decoder(
    options: DecoderOptions,
    corpus: PremiseCorpus | None,
    memory: MemorySource | None = None,
    loaded: LoadedModel | None = None,
) -> AsyncIterator[TacticGenerator]:
    """Load a model, and give back what it holds at the end.

    Args:
        corpus: the library's declarations, where :func:`shows_context`.
        memory: has the memory that the model reads at each query.
        loaded: what :func:`load_model` gave; None: it is loaded now.

    Raises:
        InputError: there is no such model or prompt, or they do not fit each other; or a source of memories
            was given for a model that reads none.
        ModelUnavailable: it cannot be run, or its server does not answer.
    """
    prompting = _prompting(options)
    retrieve = _retriever(corpus) if prompting.form is PromptForm.CONTEXT else no_context
    backend, writer, batch = await _engine(options, prompting, retrieve, loaded)
    try:
        guides = _guides(backend, corpus)
        yield _generator(prompting, backend, writer, batch, _has_lessons(options), memory, guides)
    finally:
        await backend.close()


# --- prompts ----------------------------------------------------------------------------------------


def _prompting(options: DecoderOptions) -> _Prompting:
    """What was asked for; else what our checkpoint was trained on; else the template known for the model."""
    name = options.prompt or str(recipe_of(options.model).get("form", ""))
    if name in list(PromptForm):
        form = PromptForm(name)
        usual = Sampling(SAMPLES, Decoding.BEAM, max_tokens=_answer_tokens(form))
        if form is PromptForm.WHOLE:
            usual = replace(usual, decoding=Decoding.SAMPLE)
        return _Prompting(form, None, _chosen(options, usual))
    template = template_for(name or options.model)
    return _Prompting(template.form, template, _chosen(options, template.sampling))


def _answer_tokens(form: PromptForm) -> int:
    return PROOF_TOKENS if form is PromptForm.WHOLE else TACTIC_TOKENS


def _chosen(options: DecoderOptions, usual: Sampling) -> Sampling:
    return replace(
        usual,
        n=options.samples or usual.n,
        decoding=options.decoding or usual.decoding,
        temperature=options.temperature or usual.temperature,
    )


def _retriever(corpus: PremiseCorpus | None) -> Retriever:
    from prover.decoder.context import ContextIndex

    if corpus is None:
        raise InputError("this decoder's prompts show the library's declarations: read them first, once")
    index = ContextIndex(corpus.premises)

    def near(query: Query) -> Sequence[str]:
        goal = query.state.goals[0].pretty
        return index.near(goal, query.scope.modules, CONTEXT, query.scope.own)

    return near


# --- engines ----------------------------------------------------------------------------------------


async def _engine(
    options: DecoderOptions, prompting: _Prompting, retrieve: Retriever, loaded: LoadedModel | None
) -> tuple[Backend, Writer, int]:
    """The backend, who writes its prompts, and how many of them it likes at once."""
    if options.model.startswith(("http://", "https://")):
        from prover.decoder.openai_backend import OpenAIBackend

        template = _for_text(options, prompting)
        server = await OpenAIBackend.connect(options.model)
        budget = _room(server.max_context or SERVER_CONTEXT, prompting)
        return server, TemplateWriter(template, budget, _about, retrieve), ON_GPU
    if options.engine == "vllm":
        from prover.decoder.vllm_backend import VllmBackend

        template = _for_text(options, prompting)
        vllm = VllmBackend(options.model or str(SHIPPED_CHECKPOINT))
        budget = _room(vllm.max_context, prompting)
        return vllm, TemplateWriter(template, budget, _about, retrieve), ON_GPU
    from prover.decoder.transformers_backend import TransformersBackend

    loaded = loaded or await load_model(options)
    batch = ON_CPU if loaded.model.device.type == "cpu" else ON_GPU
    return TransformersBackend(loaded), _in_process(options, prompting, retrieve, loaded), batch


def _in_process(
    options: DecoderOptions, prompting: _Prompting, retrieve: Retriever, loaded: LoadedModel
) -> Writer:
    budget = _room(loaded.max_context, prompting)
    if prompting.template is not None:
        return TemplateWriter(prompting.template, budget, loaded.count, retrieve)
    if loaded.codec is None:
        raise InputError(
            f"{options.model}: its tokenizer doesn't know the marks of the prompt {prompting.form.value!r}: "
            "give the template it was trained with (--prompt), or fine-tune it with `prover train --from`"
        )
    return OwnWriter(loaded.codec, prompting.form, budget, retrieve)


def _leave_cores_to_lean() -> None:
    """Let the model use half of the cores: its threads stand still while Lean has the cores of some."""
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))


def _room(context: int, prompting: _Prompting) -> int:
    """Tokens of a prompt, at most: an answer has what it may take, but no more than half of a context."""
    return context - min(prompting.sampling.max_tokens, context // 2)


def _for_text(options: DecoderOptions, prompting: _Prompting) -> Template:
    """The template of a model that is asked in text."""
    if prompting.template is None:
        raise InputError(
            f"{options.model or 'the shipped model'} is asked in text there: name the template that it was "
            "trained with (--prompt), or run it in process"
        )
    return prompting.template


def _about(text: str) -> int:
    """Tokens of a text for a tokenizer that is out of reach: rather too many."""
    return len(text) // 2 + 1


def _guides(backend: Backend, corpus: PremiseCorpus | None) -> GuideSource | None:
    """What keeps a model to the names in scope, where it is run in process and they are known."""
    if corpus is None or not isinstance(backend, RecallingBackend):
        return None
    from prover.decoder.names import NamesInScope

    return NamesInScope(corpus)


def _has_lessons(options: DecoderOptions) -> bool:
    """Whether a model of ours was taught what fails; documents are made of lessons."""
    recipe = recipe_of(options.model).get("recipe", {})
    return bool(recipe.get("lessons") or recipe.get("memory"))


def _generator(
    prompting: _Prompting,
    backend: Backend,
    writer: Writer,
    batch: int,
    judges: bool,
    memory: MemorySource | None,
    guides: GuideSource | None,
) -> TacticGenerator:
    if prompting.form is not PromptForm.WHOLE:
        judges = judges and prompting.template is None
        return Decoder(backend, writer, prompting.sampling, batch, judges, memory, guides)
    split = prompting.template.tactics_of if prompting.template else own_tactics_of
    return WholeProofs(backend, writer, prompting.sampling, split, memory)
