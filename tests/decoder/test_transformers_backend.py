"""The decoder in process, on tiny random models: exact, and the same whatever else is in the batch."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prover.decoder import branches, transformers_backend
from prover.decoder.branches import check_attention
from prover.decoder.checkpoint import LoadedModel, load_checkpoint
from prover.decoder.completion import Completion, Decoding, Prompt, Sampling
from prover.decoder.prompts import Mark
from prover.decoder.transformers_backend import TransformersBackend
from prover.errors import InputError, ModelUnavailable
from tests.decoder.tiny import TEXTS, tiny_checkpoint, tiny_foreign

torch.set_num_threads(1)

SAMPLING = Sampling(n=5, max_tokens=10)
BEAM = Sampling(n=4, max_tokens=10, decoding=Decoding.BEAM)


def load(folder: Path) -> LoadedModel:
    return load_checkpoint(str(folder), "cpu", "float32")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tiny_checkpoint(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Any ids are a text, and each text has its one way to be written in ids."""
    return load(tiny_checkpoint(tmp_path_factory.mktemp("letters"), seed=3, alphabet="abc"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tiny_foreign(tmp_path_factory.mktemp("foreign")))


def prompts(loaded: LoadedModel) -> list[Prompt]:
    assert loaded.codec is not None
    return [loaded.codec.encode([Mark.GOAL, text, Mark.GOAL_END, Mark.TACTIC]) for text in TEXTS]


async def answers(
    loaded: LoadedModel, asked: Sequence[Prompt], sampling: Sampling, seed: int = 0, **limits: int
) -> list[list[Completion]]:
    backend = TransformersBackend(loaded, **limits)
    found = await backend.complete(asked, sampling, [seed] * len(asked))
    await backend.close()
    return found


def complete(
    loaded: LoadedModel, asked: Sequence[Prompt], sampling: Sampling, seed: int = 0, **limits: int
) -> list[list[Completion]]:
    return asyncio.run(answers(loaded, asked, sampling, seed, **limits))


def score(loaded: LoadedModel, asked: Sequence[Prompt], texts: Sequence[Sequence[str]]) -> list[list[float]]:
    async def run() -> list[list[float]]:
        backend = TransformersBackend(loaded)
        found = await backend.score(asked, texts)
        await backend.close()
        return found

    return asyncio.run(run())


def plain(loaded: LoadedModel, prompt: Sequence[int], ids: Sequence[int]) -> float:
    """The log-probability of some ids after a prompt, by one pass over the one sequence."""
    with torch.inference_mode():
        logits = loaded.model(input_ids=torch.tensor([[*prompt, *ids]]), use_cache=False).logits[0]
    logprobs = logits.double().log_softmax(-1)[len(prompt) - 1 :]
    return sum(float(logprobs[place, token]) for place, token in enumerate(ids))


def same(one: Sequence[Sequence[Completion]], other: Sequence[Sequence[Completion]]) -> bool:
    """The last digits of a sum depend on the shape of a batch."""
    pairs = zip(itertools.chain(*one), itertools.chain(*other), strict=True)
    return all(
        (a.text, a.tokens, a.finished) == (b.text, b.tokens, b.finished) and abs(a.logprob - b.logprob) < 1e-4
        for a, b in pairs
    )


# --- determinism ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [SAMPLING, BEAM], ids=["sample", "beam"])
@settings(max_examples=5)
@given(st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=6), st.sampled_from([60, 300, 10**6]))
def test_a_prompt_has_its_answer_whatever_the_batch(
    loaded: LoadedModel, sampling: Sampling, chosen: list[int], batch_tokens: int
) -> None:
    all_prompts = prompts(loaded)
    alone = [complete(loaded, [all_prompts[i]], sampling)[0] for i in chosen]
    together = complete(loaded, [all_prompts[i] for i in chosen], sampling, batch_tokens=batch_tokens)
    assert same(alone, together)


async def test_concurrent_calls_share_batches_and_keep_their_answers(loaded: LoadedModel) -> None:
    backend = TransformersBackend(loaded)
    asked = prompts(loaded)
    calls = [backend.complete([prompt], sampling, [0]) for prompt in asked for sampling in (SAMPLING, BEAM)]
    found = await asyncio.gather(*calls)
    assert same([own for (own,) in found[::2]], await answers(loaded, asked, SAMPLING))
    assert same([own for (own,) in found[1::2]], await answers(loaded, asked, BEAM))
    assert backend.usage.prompts == 2 * len(asked)
    assert backend.usage.batches == 1
    await backend.close()


def test_seeds_and_prompts_differ_and_temperature_0_does_not(loaded: LoadedModel) -> None:
    one, two = prompts(loaded)[:2]
    assert same(complete(loaded, [one], SAMPLING, 1), complete(loaded, [one], SAMPLING, 1))
    assert not same(complete(loaded, [one], SAMPLING, 1), complete(loaded, [one], SAMPLING, 2))
    assert not same(complete(loaded, [one], SAMPLING, 1), complete(loaded, [two], SAMPLING, 1))
    greedy = Sampling(n=3, max_tokens=5, temperature=0.0)
    (found,) = complete(loaded, [one], greedy)
    assert len(set(found)) == 1
    assert same([found], complete(loaded, [one], greedy, 2))


def test_samples_follow_the_distribution(letters: LoadedModel) -> None:
    (prompt,) = [prompts_of(letters)]
    (found,) = complete(letters, [prompt], Sampling(n=4000, max_tokens=1))
    probabilities = {text: math.exp(plain(letters, prompt, ids)) for text, ids in one_token(letters).items()}
    total = sum(probabilities.values())
    for text, probability in probabilities.items():
        drawn = sum(it.text == text for it in found) / len(found)
        assert drawn == pytest.approx(probability / total, abs=0.04), text


def prompts_of(letters: LoadedModel) -> tuple[int, ...]:
    assert letters.codec is not None
    return letters.codec.encode([Mark.GOAL, "abcab", Mark.GOAL_END, Mark.TACTIC])


def one_token(letters: LoadedModel) -> dict[str, tuple[int, ...]]:
    """The texts of one token, with their ids; "" is that of the end alone."""
    assert letters.codec is not None
    return {"": (letters.codec.end_id,), **{letter: letters.codec.encode([letter]) for letter in "abc"}}


# --- log-probabilities ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sampling", [Sampling(n=12, max_tokens=6, temperature=1.5), BEAM], ids=["sample", "beam"]
)
def test_log_probabilities_are_exact(letters: LoadedModel, sampling: Sampling) -> None:
    assert letters.codec is not None
    prompt = prompts_of(letters)
    (found,) = complete(letters, [prompt], sampling)
    assert found == sorted(found, key=lambda it: -it.logprob)
    assert {it.finished for it in found} >= {True}
    for it in found:
        end = [letters.codec.end_id] if it.finished else []
        ids = [*letters.codec.encode([it.text]), *end]
        assert it.tokens == len(ids) <= sampling.max_tokens
        assert it.finished or it.tokens == sampling.max_tokens
        assert it.logprob == pytest.approx(plain(letters, prompt, ids), abs=1e-4)


def test_scores_are_those_of_the_samples_and_of_a_plain_pass(letters: LoadedModel) -> None:
    assert letters.codec is not None
    asked = [prompts_of(letters), prompts_of(letters)[:3]]
    found = complete(letters, asked, Sampling(n=12, max_tokens=6))
    ended = [[it for it in own if it.finished] for own in found]
    assert all(ended)
    scores = score(letters, asked, [[it.text for it in own] for own in ended])
    for prompt, own, logprobs in zip(asked, ended, scores, strict=True):
        assert logprobs == pytest.approx([it.logprob for it in own], abs=1e-4)
        for it, logprob in zip(own, logprobs, strict=True):
            ids = [*letters.codec.encode([it.text]), letters.codec.end_id]
            assert logprob == pytest.approx(plain(letters, prompt, ids), abs=1e-4)


def test_some_prompts_have_no_text_to_score(letters: LoadedModel) -> None:
    prompt = prompts_of(letters)
    assert score(letters, [prompt, prompt], [[], []]) == [[], []]
    none, some = score(letters, [prompt, prompt[:2]], [[], ["", "ab"]])
    assert none == []
    assert some[0] == pytest.approx(plain(letters, prompt[:2], one_token(letters)[""]), abs=1e-4)


# --- what is drawn --------------------------------------------------------------------------------


def test_a_wide_beam_finds_the_most_probable_of_all(letters: LoadedModel) -> None:
    assert letters.codec is not None
    prompt, end = prompts_of(letters), letters.codec.end_id
    sampling = Sampling(n=9, max_tokens=3, decoding=Decoding.BEAM)
    texts = ["".join(it) for length in range(3) for it in itertools.product("abc", repeat=length)]
    expected = {text: plain(letters, prompt, [*letters.codec.encode([text]), end]) for text in texts}
    best = sorted(expected, key=lambda text: -expected[text])[: sampling.n]
    (found,) = complete(letters, [prompt], sampling)
    assert [it.text for it in found] == best
    assert [it.logprob for it in found] == pytest.approx([expected[text] for text in best], abs=1e-4)
    (narrow,) = complete(letters, [prompt], Sampling(n=1, max_tokens=3, decoding=Decoding.BEAM))
    assert narrow[0].logprob <= found[0].logprob + 1e-4


def test_marks_are_drawn_in_whole_proofs_alone(letters: LoadedModel) -> None:
    assert letters.codec is not None
    sampling = Sampling(n=300, max_tokens=4, temperature=5.0)
    whole = letters.codec.encode([Mark.THEOREM, "abc", Mark.PROOF])
    tactics, proofs = complete(letters, [prompts_of(letters), whole], sampling)
    assert all(set(it.text) <= set("abc") for it in tactics)
    texts = [it.text.replace(Mark.TACTIC, "") for it in proofs]
    assert any(Mark.TACTIC in it.text for it in proofs)
    assert all(set(text) <= set("abc") for text in texts)


async def test_limits_of_length(letters: LoadedModel) -> None:
    backend = TransformersBackend(letters)
    long = prompts_of(letters)[:1] * (letters.max_context - 2)
    (found,) = await backend.complete([long], Sampling(n=8, max_tokens=50, temperature=3.0), [0])
    assert max(it.tokens for it in found) == 2
    assert await backend.score([long], [["ab"]])
    with pytest.raises(InputError, match="256"):
        await backend.score([long], [["abc"]])
    with pytest.raises(InputError, match="256 tokens"):
        await backend.complete([long + long[:2]], SAMPLING, [0])
    with pytest.raises(ValueError, match="n=0"):
        await backend.complete([long], Sampling(n=0), [0])
    with pytest.raises(TypeError, match="in token ids"):
        await backend.complete(["abc"], SAMPLING, [0])
    with pytest.raises(ValueError, match="empty"):
        await backend.complete([()], SAMPLING, [0])
    assert await backend.complete([], SAMPLING, []) == []
    await backend.close()


def test_a_model_with_its_own_tokenizer(foreign: LoadedModel) -> None:
    asked: list[Prompt] = ["a b : Nat\n⊢ a + b = b + a\n", "⊢ x"]
    sampling = Sampling(n=6, max_tokens=20, stop=("e", "\n"))
    found = complete(foreign, asked, sampling)
    assert same(found, [complete(foreign, [prompt], sampling)[0] for prompt in asked])
    everything = [it for own in found for it in own]
    assert {it.finished for it in everything} == {True, False}
    assert not any("e" in it.text or "\n" in it.text for it in everything)
    beam = complete(foreign, asked, Sampling(n=6, max_tokens=20, stop=("e", "\n"), decoding=Decoding.BEAM))
    assert not any("e" in it.text for own in beam for it in own)
    ids = foreign.tokenizer.encode("exact h")
    end = foreign.tokenizer.eos_token_id
    assert isinstance(end, int)
    expected = plain(foreign, foreign.tokenizer.encode(str(asked[1])), [*ids, end])
    assert score(foreign, asked, [[], ["exact h"]])[1] == [pytest.approx(expected, abs=1e-4)]
    with pytest.raises(TypeError, match="in text"):
        complete(foreign, [(1, 2)], sampling)


# --- the cache ------------------------------------------------------------------------------------


async def test_the_cache_changes_nothing_but_the_work(loaded: LoadedModel) -> None:
    assert loaded.codec is not None
    cached, bare = TransformersBackend(loaded), TransformersBackend(loaded, cache_bytes=0)
    path: tuple[int, ...] = loaded.codec.encode([Mark.THEOREM, TEXTS[0]])
    for step, text in enumerate(TEXTS):
        path = (*path, *loaded.codec.encode([Mark.GOAL, text, Mark.GOAL_END, Mark.TACTIC]))
        for sampling in (SAMPLING, BEAM):
            found = [await backend.complete([path], sampling, [step]) for backend in (cached, bare)]
            assert same(*found)
    assert bare.usage.cached_tokens == 0
    assert cached.usage.prompt_tokens + cached.usage.cached_tokens == bare.usage.prompt_tokens
    # Each step ran over what is new in it, and once more over the last token.
    assert cached.usage.prompt_tokens == len(path) + len(TEXTS)
    assert cached.usage.generated_tokens == bare.usage.generated_tokens
    await cached.close()
    await bare.close()


@pytest.mark.parametrize(
    "sampling", [Sampling(n=12, max_tokens=9, temperature=2.0), BEAM], ids=["sample", "beam"]
)
def test_columns_of_the_dead_do_not_count(
    letters: LoadedModel, monkeypatch: pytest.MonkeyPatch, sampling: Sampling
) -> None:
    asked: list[Prompt] = [prompts_of(letters), prompts_of(letters)[:3]]
    monkeypatch.setattr(branches, "_DROPPED", 1.0)
    kept = complete(letters, asked, sampling)
    monkeypatch.setattr(branches, "_DROPPED", 0.0)
    assert same(kept, complete(letters, asked, sampling))


# --- faults ---------------------------------------------------------------------------------------


def fail_above(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """Let batches of more prompts fail; return a list that gets the sizes of all."""
    sizes: list[int] = []
    real = transformers_backend.start

    def start(model: Any, asked: Any, *rest: Any) -> Any:
        sizes.append(len(asked))
        if len(asked) > most:
            raise error
        return real(model, asked, *rest)

    monkeypatch.setattr(transformers_backend, "start", start)
    return sizes


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: no memory")]
)
async def test_a_batch_too_big_for_memory_goes_in_halves(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    asked = prompts(loaded)[:5]
    expected = await answers(loaded, asked, SAMPLING)
    backend = TransformersBackend(loaded, cache_bytes=0)
    sizes = fail_above(monkeypatch, 2, error)
    assert same(await backend.complete(asked, SAMPLING, [0] * 5), expected)
    assert sizes == [5, 2, 3, 1, 2]
    sizes.clear()
    await backend.complete(asked, SAMPLING, [1] * 5)  # it has learned how much is too much
    assert max(sizes) <= 2
    assert backend.usage.prompts == 10
    await backend.close()


async def test_memory_that_does_not_hold_one_prompt(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TransformersBackend(loaded)
    asked = prompts(loaded)[:1]
    await backend.complete(asked, SAMPLING, [0])
    sizes = fail_above(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(ModelUnavailable, match="Memory does not suffice"):
        await backend.complete(asked, SAMPLING, [0])
    assert sizes == [1, 1]  # once more without the cache
    await backend.close()


async def test_other_errors_are_not_taken_for_memory(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TransformersBackend(loaded)
    sizes = fail_above(monkeypatch, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        await backend.complete(prompts(loaded)[:2], SAMPLING, [0, 0])
    assert sizes == [2]
    await backend.close()


async def test_closing_ends_the_batch_under_way(loaded: LoadedModel) -> None:
    backend = TransformersBackend(loaded)
    endless = Sampling(n=64, max_tokens=200, temperature=0.5)
    calls = [asyncio.create_task(backend.complete(prompts(loaded)[:1], endless, [n])) for n in range(3)]
    await asyncio.sleep(0.05)
    await backend.close()
    for call in calls:
        with pytest.raises(ModelUnavailable, match="closed"):
            await call
    with pytest.raises(ModelUnavailable, match="closed"):
        await backend.complete(prompts(loaded)[:1], SAMPLING, [0])


def test_a_model_that_does_not_heed_masks_is_refused(loaded: LoadedModel) -> None:
    check_attention(loaded.model)
    from transformers import BloomConfig, BloomForCausalLM

    with pytest.raises(InputError, match="bloom cannot be decoded here"):
        check_attention(
            BloomForCausalLM(BloomConfig(vocab_size=50, hidden_size=32, n_layer=1, n_head=2)).eval()
        )
