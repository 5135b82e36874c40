"""A decoder that reads memories: each prompt its own, whatever else is in the batch and in the cache."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from memory.catalogue import MemoryKind
from memory.lookup import Memory, Retrieved
from prover.decoder.branches import NO_PREFIX, start
from prover.decoder.checkpoint import LoadedModel, load_checkpoint
from prover.decoder.completion import Completion, Decoding, Prompt, Sampling
from prover.decoder.generator import Decoder
from prover.decoder.loading import opened_decoder
from prover.decoder.options import DecoderOptions
from prover.decoder.prompts import Mark
from prover.decoder.transformers_backend import TransformersBackend
from prover.decoder.whole_proofs import WholeProofs
from prover.errors import InputError
from prover.generators.base import Query, content_hash
from prover.generators.mixture import log_sum_exp
from tests.decoder.test_generator import Plain, Scripted
from tests.decoder.tiny import tiny_checkpoint, tiny_memorizing
from tests.generators.samples import LENGTH, query
from tests.memory.exact import ExactMemory, random_memory

torch.set_num_threads(1)

#: Of the tiny model's memories; so many of its heads share a key.
HEADS, WIDTH, SHARED = 2, 8, 2
SAMPLING = Sampling(n=6, max_tokens=6)
BEAM = Sampling(n=4, max_tokens=6, decoding=Decoding.BEAM)
TEXTS = ("abcab", "c", "bbacba", "abcaa")
drawings = pytest.mark.parametrize("sampling", [SAMPLING, BEAM], ids=["sample", "beam"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_memorizing(tmp_path_factory.mktemp("memorizing"), seed=3, alphabet="abc")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    return load_checkpoint(str(folder), "cpu", "float32")


@pytest.fixture(scope="module")
def layerless(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """The same model, without the memory layer."""
    other = tiny_checkpoint(tmp_path_factory.mktemp("layerless"), alphabet="abc")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "llama"}
    (other / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForCausalLM"]}))
    LlamaForCausalLM.from_pretrained(folder, config=str(other / "config.json")).save_pretrained(other)
    return load_checkpoint(str(other), "cpu", "float32")


def some_memory(seed: int = 0, entries: int = 12) -> ExactMemory:
    return random_memory(HEADS, entries, WIDTH, seed)


def grow(memory: ExactMemory, seed: int) -> None:
    more = some_memory(seed)
    memory.keys = torch.cat([memory.keys, more.keys], dim=1)
    memory.values = torch.cat([memory.values, more.values], dim=1)


def asked_by(memory: ExactMemory) -> int:
    """How many tokens have looked it up."""
    return sum(queries.shape[1] for queries in memory.asked) // SHARED


def prompt_of(loaded: LoadedModel, text: str) -> tuple[int, ...]:
    assert loaded.codec is not None
    return loaded.codec.encode([Mark.GOAL, text, Mark.GOAL_END, Mark.TACTIC])


def ids_of(loaded: LoadedModel, text: str) -> tuple[int, ...]:
    assert loaded.codec is not None
    return loaded.codec.encode([text, Mark.END])


def plain(loaded: LoadedModel, ids: Sequence[int], memory: Memory | None) -> torch.Tensor:
    """The log-probabilities (T, V) of one pass over the one sequence, which reads the memory."""
    with torch.inference_mode():
        output = loaded.model(input_ids=torch.tensor([ids]), use_cache=False, memories=[memory])
    logprobs: torch.Tensor = output.logits[0].double().log_softmax(dim=-1)
    return logprobs


def plain_score(
    loaded: LoadedModel, prompt: Sequence[int], ids: Sequence[int], memory: Memory | None
) -> float:
    logprobs = plain(loaded, [*prompt, *ids], memory)[len(prompt) - 1 :]
    return sum(float(logprobs[place, token]) for place, token in enumerate(ids))


async def answers(
    loaded: LoadedModel,
    asked: Sequence[Prompt],
    sampling: Sampling,
    memories: Sequence[Memory | None] | None,
    **limits: int,
) -> list[list[Completion]]:
    backend = TransformersBackend(loaded, **limits)
    found = await backend.complete(asked, sampling, [0] * len(asked), memories=memories)
    await backend.close()
    return found


def same(one: Sequence[Sequence[Completion]], other: Sequence[Sequence[Completion]]) -> bool:
    """The last digits of a sum depend on the shape of a batch."""
    pairs = zip(itertools.chain(*one), itertools.chain(*other), strict=True)
    return all(
        (a.text, a.tokens) == (b.text, b.tokens) and abs(a.logprob - b.logprob) < 1e-4 for a, b in pairs
    )


# --- what is loaded -------------------------------------------------------------------------------


def test_a_checkpoint_says_what_its_memories_must_be_of(folder: Path, layerless: LoadedModel) -> None:
    half = load_checkpoint(str(folder), "cpu", "bfloat16")
    assert half.memory_kind == MemoryKind(half.content_hash, 1, HEADS, WIDTH)
    kinds = {name: str(weight.dtype) for name, weight in half.model.named_parameters()}
    wide = {name for name, kind in kinds.items() if kind == "torch.float32"}
    assert {name.rpartition(".")[2] for name in wide} == {"memory_gate", "memory_scale"}
    assert layerless.memory_kind is None


def test_a_memory_layer_that_cannot_be_is_refused(tmp_path: Path) -> None:
    broken = tiny_memorizing(tmp_path / "broken", alphabet="abc")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"memory_layer": 3}))
    with pytest.raises(InputError, match="no layer 3"):
        load_checkpoint(str(broken), "cpu")


# --- answers --------------------------------------------------------------------------------------


@drawings
async def test_log_probabilities_are_those_of_a_plain_pass(loaded: LoadedModel, sampling: Sampling) -> None:
    prompts = [prompt_of(loaded, text) for text in TEXTS]
    memories = [some_memory(0), some_memory(1), None, some_memory(2, entries=2)]
    found = await answers(loaded, prompts, sampling, memories)
    for prompt, own, memory in zip(prompts, found, memories, strict=True):
        assert own
        for it in own:
            ids = ids_of(loaded, it.text)[: it.tokens]
            assert it.logprob == pytest.approx(plain_score(loaded, prompt, ids, memory), abs=1e-4)
    # They would not be, had nobody read.
    ids = ids_of(loaded, found[0][0].text)[: found[0][0].tokens]
    assert abs(found[0][0].logprob - plain_score(loaded, prompts[0], ids, None)) > 0.01


async def test_scores_and_verdicts_are_those_of_a_plain_pass(loaded: LoadedModel) -> None:
    assert loaded.codec is not None
    prompts = [prompt_of(loaded, text) for text in TEXTS]
    texts = [["ab", "cccba", ""], ["a"], [], ["abc", "abcb"]]
    memories = [some_memory(0), some_memory(1), some_memory(2), None]
    backend = TransformersBackend(loaded)
    scores = await backend.score(prompts, texts, memories=memories)
    verdicts = await backend.judge(prompts, texts, memories=memories)
    await backend.close()
    marks = [loaded.codec.mark_id(mark) for mark in (Mark.PROOF, Mark.TACTIC)]
    for prompt, own, memory, told, judged in zip(prompts, texts, memories, scores, verdicts, strict=True):
        for text, score, verdict in zip(own, told, judged, strict=True):
            ids = ids_of(loaded, text)
            assert score == pytest.approx(plain_score(loaded, prompt, ids, memory), abs=1e-4)
            yes, no = plain(loaded, [*prompt, *ids], memory)[-1, marks].tolist()
            assert verdict == pytest.approx(yes - log_sum_exp([yes, no]), abs=1e-4)


@drawings
async def test_with_nothing_to_read_it_is_the_model_without_the_layer(
    loaded: LoadedModel, layerless: LoadedModel, sampling: Sampling
) -> None:
    prompts = [prompt_of(loaded, text) for text in TEXTS]
    expected = await answers(layerless, prompts, sampling, None)
    empty = some_memory(entries=0)
    for memories in (None, [None] * 4, [empty, None, some_memory(1, entries=0), empty]):
        assert await answers(loaded, prompts, sampling, memories) == expected
    assert await answers(loaded, prompts, sampling, [some_memory()] * 4) != expected


@drawings
@settings(max_examples=5, deadline=None)
@given(
    chosen=st.lists(st.tuples(st.sampled_from(TEXTS), st.integers(0, 4)), min_size=2, max_size=6),
    batch_tokens=st.sampled_from([60, 300, 10**6]),
)
async def test_a_prompt_and_its_memory_have_their_answer_whatever_the_batch(
    loaded: LoadedModel, sampling: Sampling, chosen: list[tuple[str, int]], batch_tokens: int
) -> None:
    pool = [None, some_memory(entries=0), *map(some_memory, range(3))]
    prompts: list[Prompt] = [prompt_of(loaded, text) for text, _ in chosen]
    memories = [pool[number] for _, number in chosen]
    alone = [
        (await answers(loaded, [prompt], sampling, [memory]))[0]
        for prompt, memory in zip(prompts, memories, strict=True)
    ]
    assert same(await answers(loaded, prompts, sampling, memories, batch_tokens=batch_tokens), alone)


# --- branches -------------------------------------------------------------------------------------


@torch.inference_mode()
def test_who_is_let_go_takes_its_memory_along(loaded: LoadedModel) -> None:
    prompts = [prompt_of(loaded, text) for text in ("ab", "cabba", "b")]
    memories = [some_memory(number) for number in range(3)]
    branches, logits, _ = start(loaded.model, prompts, [NO_PREFIX] * 3, memories)
    for own, prompt, memory in zip(logits, prompts, memories, strict=True):
        assert own.double().log_softmax(-1).tolist() == pytest.approx(
            plain(loaded, prompt, memory)[-1].tolist(), abs=1e-4
        )
    a, b, c = ids_of(loaded, "abc")[:3]
    branches.advance([[(0, a), (0, b), (0, c)], [(0, a)], [(0, b)]])
    after = branches.advance([[(2, a)], [], [(0, b), (0, c)]])
    kept = [(0, 0, [c, a]), (2, 0, [b, b]), (2, 1, [b, c])]
    for (number, branch, ids), row in zip(kept, (0, 1, 1), strict=True):
        expected = plain(loaded, [*prompts[number], *ids], memories[number])[-1]
        assert after[row, branch].double().log_softmax(-1).tolist() == pytest.approx(
            expected.tolist(), abs=1e-4
        )


@torch.inference_mode()
def test_neither_padding_nor_idle_branches_look_up(loaded: LoadedModel) -> None:
    prompts = [prompt_of(loaded, text) for text in ("ab", "cabba")]
    memories = [some_memory(number) for number in range(2)]
    branches, _, _ = start(loaded.model, prompts, [NO_PREFIX] * 2, memories)
    assert [asked_by(memory) for memory in memories] == [len(prompt) for prompt in prompts]
    a, b = ids_of(loaded, "ab")[:2]
    branches.advance([[(0, a), (0, b), (0, a)], [(0, a)]])
    assert [asked_by(memory) for memory in memories] == [len(prompts[0]) + 3, len(prompts[1]) + 1]
    branches, _, _ = start(loaded.model, prompts, [NO_PREFIX] * 2, memories)
    before = [asked_by(memory) for memory in memories]
    branches.read([[(a, b), (a,)], [(b,)]])
    assert [asked_by(memory) - there for memory, there in zip(memories, before, strict=True)] == [3, 1]


# --- the cache of prefixes ------------------------------------------------------------------------


@drawings
async def test_prefixes_are_not_shared_between_memories(loaded: LoadedModel, sampling: Sampling) -> None:
    memories = [some_memory(0), None, some_memory(1)]
    cached, bare = TransformersBackend(loaded), TransformersBackend(loaded, cache_bytes=0)
    path: tuple[int, ...] = ()
    for text in TEXTS:
        path = (*path, *prompt_of(loaded, text))
        for memory in memories:
            found = [
                await backend.complete([path], sampling, [0], memories=[memory]) for backend in (cached, bare)
            ]
            assert same(*found)
    # With each memory, every step ran over what is new in it alone.
    assert cached.usage.prompt_tokens == len(memories) * len(path)
    await cached.close()
    await bare.close()


async def test_what_was_read_before_a_memory_grew_is_read_again(loaded: LoadedModel) -> None:
    prompt, memory = prompt_of(loaded, "abcab"), some_memory(0)
    longer = (*prompt, *prompt_of(loaded, "ba"))
    backend = TransformersBackend(loaded)
    await backend.complete([prompt], SAMPLING, [0], memories=[memory])
    grow(memory, 7)
    found = await backend.complete([longer], SAMPLING, [0], memories=[memory])
    assert same(found, await answers(loaded, [longer], SAMPLING, [memory]))
    assert backend.usage.cached_tokens == 0
    again = await backend.complete([longer], SAMPLING, [0], memories=[memory])
    assert same(found, again)
    assert backend.usage.cached_tokens == len(longer) - 1
    await backend.close()


class Restless(ExactMemory):
    """Grows as soon as it has been asked for the first time."""

    def look_up(self, queries: torch.Tensor, k: int) -> Retrieved:
        found = super().look_up(queries, k)
        if len(self.asked) == 1:
            grow(self, 7)
        return found


async def test_what_was_read_while_a_memory_grew_is_read_again(loaded: LoadedModel) -> None:
    prompt, calm = prompt_of(loaded, "abcab"), some_memory(0)
    backend = TransformersBackend(loaded)
    memory = Restless(calm.keys, calm.values)
    await backend.score([prompt], [["ab"]], memories=[memory])
    ((found,),) = await backend.score([prompt], [["ab"]], memories=[memory])
    assert found == pytest.approx(plain_score(loaded, prompt, ids_of(loaded, "ab"), memory), abs=1e-4)
    assert backend.usage.cached_tokens == 0
    await backend.close()


# --- a model whose prompts do not look up ---------------------------------------------------------


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Only the last token of a prompt and what follows it look up."""
    folder = tmp_path_factory.mktemp("answering")
    return load_checkpoint(str(tiny_memorizing(folder, 3, "abc", prompts=False)), "cpu", "float32")


def answering_score(
    loaded: LoadedModel, prompt: Sequence[int], ids: Sequence[int], memory: Memory | None
) -> float:
    asking = torch.arange(len(prompt) + len(ids)) >= len(prompt) - 1
    with torch.inference_mode():
        output = loaded.model(
            input_ids=torch.tensor([[*prompt, *ids]]), memories=[memory], memory_queries=asking[None]
        )
    logprobs = output.logits[0].double().log_softmax(dim=-1)[len(prompt) - 1 :]
    return sum(float(logprobs[place, token]) for place, token in enumerate(ids))


async def test_its_answers_alone_look_up_and_share_their_prompts(answering: LoadedModel) -> None:
    backend = TransformersBackend(answering)
    prompt, ids = prompt_of(answering, "abcab"), ids_of(answering, "ab")
    for memory in (some_memory(0), None, some_memory(1), some_memory(0)):
        ((found,),) = await backend.score([prompt], [["ab"]], memories=[memory])
        assert found == pytest.approx(answering_score(answering, prompt, ids, memory), abs=1e-4)
    assert backend.usage.cached_tokens == 3 * (len(prompt) - 1)
    await backend.close()


async def test_the_end_of_a_prompt_is_no_beginning_of_another(answering: LoadedModel) -> None:
    prompt, memory = prompt_of(answering, "ab"), some_memory(0)
    longer = (*prompt, *prompt_of(answering, "c"))
    backend = TransformersBackend(answering)
    await backend.score([prompt], [["a"]], memories=[memory])
    ((found,),) = await backend.score([longer], [["a"]], memories=[memory])
    expected = answering_score(answering, longer, ids_of(answering, "a"), memory)
    assert found == pytest.approx(expected, abs=1e-4)
    await backend.close()


# --- what is refused ------------------------------------------------------------------------------


async def test_a_model_without_the_layer_refuses_memories(layerless: LoadedModel) -> None:
    backend = TransformersBackend(layerless)
    prompt, memories = [prompt_of(layerless, "ab")], [some_memory()]
    with pytest.raises(ValueError, match="no memory layer"):
        await backend.complete(prompt, SAMPLING, [0], memories=memories)
    with pytest.raises(ValueError, match="no memory layer"):
        await backend.score(prompt, [["a"]], memories=memories)
    with pytest.raises(ValueError, match="no memory layer"):
        await backend.judge(prompt, [["a"]], memories=memories)
    assert await backend.complete(prompt, SAMPLING, [0], memories=[None])
    await backend.close()


async def test_memories_that_do_not_fit_are_refused(loaded: LoadedModel) -> None:
    backend = TransformersBackend(loaded)
    prompt = [prompt_of(loaded, "ab")]
    with pytest.raises(ValueError, match="longer"):
        await backend.complete(prompt, SAMPLING, [0], memories=[None, None])
    with pytest.raises(InputError, match="another shape"):
        await backend.complete(prompt, SAMPLING, [0], memories=[Misshapen()])
    await backend.close()


class Misshapen(ExactMemory):
    """Answers with vectors that are too narrow."""

    def __init__(self) -> None:
        narrow = random_memory(HEADS, 3, WIDTH // 2)
        super().__init__(narrow.keys, narrow.values)

    def look_up(self, queries: torch.Tensor, k: int) -> Retrieved:
        return super().look_up(queries[..., : WIDTH // 2], k)


# --- generators -----------------------------------------------------------------------------------


class ByStatement:
    """Each theorem has a memory of its own, but one."""

    def __init__(self, content_hash: str = "5" * 16) -> None:
        self.content_hash = content_hash
        self.memories: dict[str, Memory | None] = {"one": some_memory(1), "two": some_memory(2), "none": None}
        self.asked: list[str] = []

    def memory_for(self, query: Query) -> Memory | None:
        self.asked.append(query.statement)
        return self.memories[query.statement]


def about(statement: str) -> Query:
    return Query(query(LENGTH).state, (), statement, 3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_memorizing(tmp_path_factory.mktemp("tiny") / "checkpoint")
    (folder / "training.json").write_text(json.dumps({"form": "goal"}))
    return folder


def options(model: Path, prompt: str = "goal") -> DecoderOptions:
    return DecoderOptions(str(model), prompt, samples=4, device="cpu", decoding=Decoding.SAMPLE)


class Same:
    """Writes the same prompt for all queries."""

    content_hash = "1" * 16

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt

    def prompt(self, query: Query) -> Prompt:
        return self._prompt

    def tactic(self, text: str) -> str:
        return text

    def answer_tokens(self, tactic: str) -> int:
        return len(tactic) + 1


async def test_a_decoder_reads_the_memory_of_each_query(loaded: LoadedModel) -> None:
    prompt, texts, source = prompt_of(loaded, "abcab"), ["ab", "c"], ByStatement()
    sampling, statements = Sampling(n=12, max_tokens=6), ["one", "none", "two"]
    backend = TransformersBackend(loaded)
    decoder = Decoder(backend, Same(prompt), sampling, judges=True, memory=source)
    queries = [about(statement) for statement in statements]
    found = await decoder.generate(queries)
    verdicts = await decoder.judge(queries, [texts] * 3)
    assert source.asked == statements * 2
    for statement, own, verdict in zip(statements, found, verdicts, strict=True):
        memory = source.memories[statement]
        assert own
        for it in own:
            score = plain_score(loaded, prompt, ids_of(loaded, it.tactic), memory)
            assert it.logprob == pytest.approx(score, abs=1e-4)
        (told,) = await backend.judge([prompt], [texts], memories=[memory])
        assert verdict == pytest.approx(told, abs=1e-4)
    assert verdicts[0] != pytest.approx(verdicts[1], abs=1e-3) != verdicts[2]
    await backend.close()


@pytest.mark.parametrize("form", ["goal", "whole"])
async def test_an_opened_decoder_has_its_source(checkpoint: Path, form: str) -> None:
    source = ByStatement()
    async with opened_decoder(options(checkpoint, form), None) as forgetful:
        before = content_hash(forgetful)
    async with opened_decoder(options(checkpoint, form), None, source) as decoder:
        assert isinstance(decoder, WholeProofs if form == "whole" else Decoder)
        assert not source.asked
        await decoder.generate([about("two"), about("none")])
        assert source.asked == ["two", "none"]
        assert content_hash(decoder) != before


async def test_the_hash_tells_sources_apart(checkpoint: Path) -> None:
    hashes = set()
    for source in (None, ByStatement("1" * 16), ByStatement("2" * 16)):
        async with opened_decoder(options(checkpoint), None, source) as decoder:
            hashes.add(content_hash(decoder))
    assert len(hashes) == 3


async def test_a_source_for_a_model_that_reads_nothing_is_refused(layerless: LoadedModel) -> None:
    backend = TransformersBackend(layerless)
    for unreading in (backend, Scripted({})):
        with pytest.raises(InputError, match="reads no memory"):
            Decoder(unreading, Plain(), SAMPLING, memory=ByStatement())
        with pytest.raises(InputError, match="reads no memory"):
            WholeProofs(unreading, Plain(), SAMPLING, str.split, ByStatement())
    await backend.close()
