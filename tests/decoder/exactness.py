"""What a backend says of a real model, held against the model itself.

The model is one whose texts can be written in ids in one way only, so that a text tells which ids it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prover.decoder.completion import Backend, Completion, Prompt, Sampling
from tests.decoder.tiny import tiny_model

ALPHABET = "abcdefgh \n"
PROMPTS: tuple[Prompt, ...] = ("ab", "a b h cd", "dd\n\nf ")
SAMPLING = Sampling(n=8, temperature=1.3, max_tokens=12)
#: vLLM computes in another order, in float32.
TOLERANCE = 1e-3


def exact_checkpoint(folder: Path) -> Path:
    """Save the model; the size of its attention heads is one that vLLM can do on a CPU."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = [written for written, _ in pre_tokenizers.ByteLevel(False).pre_tokenize_str(ALPHABET)]
    vocabulary = {token: i for i, token in enumerate(["<END>", *"".join(letters)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<END>").save_pretrained(folder)
    shape = {"hidden_size": 64, "num_attention_heads": 1, "bos_token_id": 0, "eos_token_id": 0}
    tiny_model(folder, len(vocabulary), **shape)
    return folder


class Judge:
    """The model itself: gives every token of a given text its probability."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def ids(self, prompt: Prompt) -> list[int]:
        return list(self.tokenizer(prompt)["input_ids"]) if isinstance(prompt, str) else list(prompt)

    def logprob(self, prompt: Prompt, more: Sequence[int]) -> float:
        """Return the natural log-probability of these ids after the prompt, at temperature 1."""
        import torch

        before = self.ids(prompt)
        with torch.inference_mode():
            logits = self._model(torch.tensor([before + list(more)])).logits[0].double()
        likely = torch.log_softmax(logits, -1)
        return math.fsum(float(likely[len(before) + i - 1, token]) for i, token in enumerate(more))

    def agrees(self, prompt: Prompt, completion: Completion, stop: Sequence[str] = ()) -> bool:
        """Compare a number of tokens and a log-probability."""
        ids = self.ids(completion.text)
        ends = [[self.tokenizer.eos_token_id], *map(self.ids, stop)] if completion.finished else [[]]
        return len(ids) + completion.finished == completion.tokens and any(
            math.isclose(self.logprob(prompt, [*ids, *end]), completion.logprob, abs_tol=TOLERANCE)
            for end in ends
        )


async def assert_exact(backend: Backend, folder: Path) -> None:
    """Texts as prompts, and ids; endings of all kinds; the same again for the same seed."""
    judge = Judge(folder)
    prompts = [*PROMPTS, *(tuple(judge.ids(prompt)) for prompt in PROMPTS)]
    seeds = [1, 2, 3, 1, 2, 3]
    answers = await backend.complete(prompts, SAMPLING, seeds)
    _assert_agreement(judge, prompts, answers, ())
    assert answers[:3] == answers[3:]
    assert len({completion.text for answer in answers for completion in answer}) > 8
    assert {completion.finished for answer in answers for completion in answer} == {True, False}


async def assert_exact_with_stop(backend: Backend, folder: Path) -> None:
    """A text that ends a continuation is not part of it, but of its log-probability."""
    stopped = replace(SAMPLING, stop=("c", "\n"), max_tokens=40)
    answers = await backend.complete(PROMPTS, stopped, [1, 2, 3])
    _assert_agreement(Judge(folder), PROMPTS, answers, stopped.stop)
    for completion in (completion for answer in answers for completion in answer):
        assert not set(completion.text) & {"c", "\n"}


async def assert_one_at_temperature_zero(backend: Backend, folder: Path) -> None:
    (answer,) = await backend.complete(PROMPTS[:1], replace(SAMPLING, temperature=0.0), [1])
    _assert_agreement(Judge(folder), PROMPTS[:1], [answer], ())
    assert len(answer) == 1


def _assert_agreement(
    judge: Judge, prompts: Sequence[Prompt], answers: Sequence[Sequence[Completion]], stop: Sequence[str]
) -> None:
    for prompt, answer in zip(prompts, answers, strict=True):
        assert [each for each in answer if not judge.agrees(prompt, each, stop)] == []
    for answer in answers:
        assert [each.logprob for each in answer] == sorted((each.logprob for each in answer), reverse=True)
