"""The client of a completions server, against one that is slow, broken, overloaded or of little use."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from prover.decoder import patient_client
from prover.decoder.completion import Completion, Decoding, Sampling
from prover.decoder.openai_backend import OpenAIBackend
from prover.decoder.patient_client import Patience
from prover.errors import InputError, ModelUnavailable
from prover.settings import settings
from tests.decoder.scripted_server import MODELS, Act, ScriptedServer, answer, choice, good, half

TWO = Sampling(n=2, max_tokens=8)
PATIENCE = Patience(attempts=3, seconds=1.0)


class Pauses(list[float]):
    """Notes the pauses between attempts instead of spending them."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@asynccontextmanager
async def connected(
    server: ScriptedServer, pauses: Pauses | None = None, patience: Patience = PATIENCE, limit: int = 32
) -> AsyncIterator[OpenAIBackend]:
    async with server:
        sleep = Pauses() if pauses is None else pauses
        backend = await OpenAIBackend.connect(server.url, patience=patience, limit=limit, sleep=sleep)
        try:
            yield backend
        finally:
            await backend.close()


async def asked(
    act: Act, *more: Act, sampling: Sampling = TWO, pauses: Pauses | None = None
) -> list[Completion]:
    """Ask a server for the continuations of "p" that does these acts first."""
    async with connected(ScriptedServer({"p": [act, *more]}), pauses) as backend:
        return (await backend.complete(["p"], sampling, [0]))[0]


def texts(completions: Sequence[Completion]) -> list[str]:
    return [completion.text for completion in completions]


# --- good answers ---------------------------------------------------------------------------------


async def test_continuations_come_with_exact_logprobs_the_best_first() -> None:
    async with connected(ScriptedServer()) as backend:
        p, q = await backend.complete(["p", "q"], TWO, [0, 1])
    assert p == [Completion("p1", -1.5, 2, True), Completion("p0", -2.0, 2, True)]
    assert texts(q) == ["q1", "q0"]


async def test_the_request_says_all_that_matters() -> None:
    server = ScriptedServer()
    sampling = Sampling(n=3, temperature=1.3, max_tokens=7, stop=("\n",))
    async with connected(server) as backend:
        await backend.complete(["p", (5, 6)], sampling, [2**31 + 5, -1])
    requests = {str(request.get("prompt")): request for request in server.requests}
    assert requests["p"] == {
        "model": "scripted",
        "prompt": "p",
        "n": 3,
        "temperature": 1.3,
        "top_p": 1.0,
        "max_tokens": 7,
        "logprobs": 1,
        "seed": 5,
        "stop": ["\n"],
    }
    assert requests["[5, 6]"]["prompt"] == [5, 6]
    assert requests["[5, 6]"]["seed"] == 2**31 - 1


async def test_vllm_is_told_to_leave_the_distribution_as_it_is() -> None:
    server = ScriptedServer(owner="vllm")
    async with connected(server) as backend:
        await backend.complete(["p"], TWO, [0])
    assert server.requests[-1]["top_k"] == -1
    assert server.requests[-1]["repetition_penalty"] == 1.0


async def test_at_temperature_zero_there_is_one_continuation() -> None:
    assert len(await asked(good, sampling=replace(TWO, temperature=0.0))) == 1


async def test_no_prompts_no_requests() -> None:
    async with connected(ScriptedServer()) as backend:
        assert await backend.complete([], TWO, []) == []


async def test_a_continuation_that_was_cut_is_not_finished() -> None:
    body = {"choices": [choice("a", [-1.0], "length"), choice("b", [-2.0])]}
    assert [each.finished for each in await asked(answer(200, body))] == [False, True]


async def test_the_usage_is_counted() -> None:
    async with connected(ScriptedServer()) as backend:
        await asyncio.gather(backend.complete(["p", "q"], TWO, [0, 0]), backend.complete(["r"], TWO, [0]))
        usage = backend.usage
    assert (usage.prompts, usage.batches) == (3, 2)
    assert (usage.prompt_tokens, usage.cached_tokens, usage.generated_tokens) == (18, 12, 12)
    assert 0.0 < usage.seconds < 5.0


async def test_requests_are_under_way_together_up_to_the_limit() -> None:
    server = ScriptedServer()
    async with connected(server, limit=3) as backend:
        answers = await backend.complete([f"p{i}" for i in range(12)], TWO, range(12))
    assert [texts(each)[0] for each in answers] == [f"p{i}1" for i in range(12)]
    assert server.busiest == 3


# --- faults that pass -----------------------------------------------------------------------------

GARBAGE = answer(200, b"{]")
BAD_TYPES = [
    answer(200, body)
    for body in (
        [],
        "text",
        {"choices": "two"},
        {"choices": [1, 2]},
        {"choices": [choice("a", [-1.0]), {"text": None, "finish_reason": "stop"}]},
        {"choices": [choice("a", [-1.0]), choice("b", [-1.0], "abort")]},
        {"choices": [choice("a", [-1.0]), choice("b", [-1.0, None])]},
        {"choices": [choice("a", [-1.0]), choice("b", [math.nan])]},
        {"choices": [choice("a", [-1.0]), choice("b", [-math.inf])]},
        {"choices": [choice("a", [-1.0]), choice("b", [True])]},
        {"choices": [choice("a", [-1.0]), {**choice("b", [-1.0]), "logprobs": [-1.0]}]},
    )
]
PASSING = {
    "500": answer(500, {"error": {"message": "engine dead"}}),
    "503": answer(503, b"<html>later</html>"),
    "429": answer(429, {"error": "too many"}),
    "cut connection": b"",
    "half a head": b"HTTP/1.1 200 O",
    "half an answer": half(good({"prompt": "p", "n": 2})),
    "no HTTP": b"220 smtp ready\r\n\r\n",
    "garbage": GARBAGE,
    "not UTF-8": answer(200, b"\xff\xfe{}"),
    "thousands of brackets": answer(200, b"[" * 200_000),
    "a broken encoding": answer(200, b"no gzip", {"Content-Encoding": "gzip"}),
    **{f"bad types {i}": body for i, body in enumerate(BAD_TYPES)},
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
async def test_what_may_pass_is_tried_again(fault: bytes) -> None:
    pauses = Pauses()
    assert texts(await asked(fault, fault, pauses=pauses)) == ["p1", "p0"]
    assert len(pauses) == 2


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
async def test_what_does_not_pass_is_told(fault: bytes) -> None:
    pauses = Pauses()
    with pytest.raises(
        ModelUnavailable, match=r"http://127.*/v1 does not answer usably: given up after 3 attempts"
    ):
        await asked(*[fault] * 9, pauses=pauses)
    assert len(pauses) == 2


async def test_the_last_fault_is_told() -> None:
    with pytest.raises(ModelUnavailable, match="500 Scripted: engine dead"):
        await asked(GARBAGE, GARBAGE, PASSING["500"])


async def test_a_slow_server_is_tried_again() -> None:
    server = ScriptedServer({"p": [60.0]})
    async with connected(server, patience=Patience(attempts=2, seconds=0.3)) as backend:
        assert texts((await backend.complete(["p"], TWO, [0]))[0]) == ["p1", "p0"]
        assert backend.faults == 1
    assert server.left == ["p"]


async def test_a_server_that_stays_slow_is_given_up() -> None:
    async with connected(
        ScriptedServer({"p": [60.0] * 5}), patience=Patience(attempts=2, seconds=0.2)
    ) as backend:
        with pytest.raises(ModelUnavailable, match=r"no answer in time \(an attempt may take 0.2 s\)"):
            await backend.complete(["p"], TWO, [0])


async def test_an_answer_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_client, "ANSWER_BYTES", 1024**2)
    with pytest.raises(ModelUnavailable, match="an answer of more than 1 MiB"):
        await asked(*[answer(200, b" " * 2 * 1024**2)] * 3)


async def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    pauses = Pauses()
    with pytest.raises(
        ModelUnavailable, match="given up after 3 attempts, the last one failed with: ConnectError"
    ):
        await OpenAIBackend.connect(url, patience=PATIENCE, sleep=pauses)
    assert len(pauses) == 2


async def test_a_fault_of_one_request_leaves_the_others_alone() -> None:
    server = ScriptedServer({"b": [b"", GARBAGE]})
    async with connected(server) as backend:
        answers = await backend.complete(["a", "b", "c"], TWO, [0, 0, 0])
    assert [texts(each)[0] for each in answers] == ["a1", "b1", "c1"]
    assert sorted(str(request["prompt"]) for request in server.requests[1:]) == ["a", "b", "b", "b", "c"]


async def test_a_batch_that_fails_ends_its_other_requests() -> None:
    server = ScriptedServer({"a": [answer(400, {"error": {"message": "too long"}})], "b": [60.0]})
    async with connected(server, patience=Patience(seconds=30.0)) as backend:
        with pytest.raises(ModelUnavailable):
            await backend.complete(["a", "b"], TWO, [0, 0])
        assert texts((await backend.complete(["c"], TWO, [0]))[0]) == ["c1", "c0"]
    assert server.left == ["b"]


async def test_cancelling_closes_the_connections() -> None:
    server = ScriptedServer({"a": [60.0], "b": [60.0]})
    async with connected(server, patience=Patience(seconds=30.0)) as backend:
        work = asyncio.create_task(backend.complete(["a", "b"], TWO, [0, 0]))
        while server.busy < 2:
            await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert texts((await backend.complete(["c"], TWO, [0]))[0]) == ["c1", "c0"]
    assert sorted(server.left) == ["a", "b"]


# --- pauses ---------------------------------------------------------------------------------------


def test_pauses_double_and_end_somewhere() -> None:
    patience = Patience()
    pauses = [patience.pause(attempt, 0.0) for attempt in range(1, 200)]
    for attempt, pause in enumerate(pauses):
        whole = min(patience.longest_pause, patience.first_pause * 2.0**attempt)
        assert whole / 2 <= pause <= whole
    assert all(later > earlier for earlier, later in pairwise(pauses[0:6:2]))
    assert len(set(pauses[20:])) > 1


async def test_a_server_is_left_alone_as_long_as_it_asks() -> None:
    pauses = Pauses()
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    first = answer(429, {}, {"Retry-After": "7"})
    await asked(first, answer(503, {}, {"Retry-After": date}), pauses=pauses)
    assert 7.0 <= pauses[0] <= 8.0
    assert 50.0 <= pauses[1] <= 61.0


@pytest.mark.parametrize("header", ["soon", "-5", "", "1.5e300"])
async def test_a_wait_that_cannot_be_read_is_none(header: str) -> None:
    pauses = Pauses()
    await asked(answer(429, {}, {"Retry-After": header}), pauses=pauses)
    assert pauses[0] <= 0.5


async def test_a_server_that_asks_for_too_much_is_given_up() -> None:
    with pytest.raises(ModelUnavailable, match=r"given up after 1 attempt,.*asks to wait for 3600 s"):
        await asked(answer(429, {}, {"Retry-After": "3600"}))


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (
            400,
            {"error": {"message": "maximum context length is 4096"}},
            "400 Scripted: maximum context length",
        ),
        (400, {"object": "error", "message": "old shape"}, "400 Scripted: old shape"),
        (422, {"detail": [{"msg": "unexpected"}]}, "422.*unexpected"),
        (401, {"error": "no key"}, r"401.*no key \(the key is taken from LEAN_PROVER_API_KEY\)"),
        (404, {"error": {"message": "no such model"}}, "404.*no such model .*does the URL end"),
        (302, b"", r"302 Scripted: \(nothing\)"),
    ],
)
async def test_a_refusal_is_told_at_once(status: int, body: object, told: str) -> None:
    pauses = Pauses()
    with pytest.raises(ModelUnavailable, match=told):
        await asked(answer(status, body), pauses=pauses)
    assert pauses == []


USELESS = {
    "fewer": ({"choices": [choice("a", [-1.0])]}, "2 continuations were asked for and 1 came"),
    "none": ({"choices": []}, "2 continuations were asked for and 0 came"),
    "no logprobs": ({"choices": [choice("a", None)] * 2}, "it gives no `logprobs`"),
    "logprobs left out": (
        {"choices": [{"text": "a", "finish_reason": "stop"}] * 2},
        "it gives no `logprobs`",
    ),
    "empty logprobs": ({"choices": [choice("a", [])] * 2}, "it gives no `logprobs`"),
    "end left out": (
        {"choices": [choice("a", [-1.0])] * 2, "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
        "it generated 4 tokens but gives `logprobs` for 2 only",
    ),
}


@pytest.mark.parametrize(("body", "told"), USELESS.values(), ids=USELESS.keys())
async def test_a_server_of_no_use_is_refused(body: object, told: str) -> None:
    pauses = Pauses()
    with pytest.raises(ModelUnavailable, match=f"{told}.*must honour `n` and `logprobs`.*vLLM"):
        await asked(answer(200, body), pauses=pauses)
    assert pauses == []


async def test_a_beam_is_refused() -> None:
    with pytest.raises(InputError, match="a server cannot decode by beam: use --decoding sample"):
        await asked(good, sampling=replace(TWO, decoding=Decoding.BEAM))


# --- finding the model ----------------------------------------------------------------------------


async def connect(server: ScriptedServer, model: str | None) -> OpenAIBackend:
    async with server:
        backend = await OpenAIBackend.connect(server.url, model, patience=PATIENCE, sleep=Pauses())
        await backend.close()
        return backend


async def test_the_model_is_found_by_name_or_alone() -> None:
    alone = await connect(ScriptedServer(models=["a"]), None)
    named = await connect(ScriptedServer(models=["b", "a"]), "a")
    other = await connect(ScriptedServer(models=["b", "a"]), "b")
    assert alone.name == named.name == "a"
    assert alone.content_hash == named.content_hash != other.content_hash
    assert len(alone.content_hash) == 16
    assert (await connect(ScriptedServer(models=[]), "unlisted")).name == "unlisted"


@pytest.mark.parametrize(
    ("models", "model", "told"),
    [
        (["a", "b"], "c", "has no model c; it has: a, b"),
        (["a", "b"], None, "has not one model but these: a, b"),
        ([], None, "has not one model but these: none"),
    ],
)
async def test_a_model_that_is_not_there(models: list[str], model: str | None, told: str) -> None:
    with pytest.raises(InputError, match=told):
        await connect(ScriptedServer(models=models), model)


@pytest.mark.parametrize("body", [[], {"data": 1}, {"data": [{}]}, {"data": [1]}])
async def test_a_list_of_models_that_cannot_be_read(body: object) -> None:
    assert (await connect(ScriptedServer({MODELS: [answer(200, body)]}), None)).name == "scripted"


@pytest.mark.parametrize(
    "url", ["localhost:8000/v1", "ftp://a/v1", "http://", "http://a:b:c", "", "http://a\n"]
)
async def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InputError, match="is no address of a server"):
        await OpenAIBackend.connect(url)


# --- the key --------------------------------------------------------------------------------------


async def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAN_PROVER_API_KEY", " secret-key\n")
    assert "secret" not in repr(settings())
    server = ScriptedServer({"p": [answer(401, {"error": "secret-key is wrong"})]})
    async with connected(server) as backend:
        with pytest.raises(ModelUnavailable) as refused:
            await backend.complete(["p"], TWO, [0])
    assert "secret" not in str(refused.value)
    assert all("authorization: bearer secret-key" in head.lower() for head in server.headers)


async def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEAN_PROVER_API_KEY", raising=False)
    server = ScriptedServer()
    await connect(server, None)
    assert "authorization" not in server.headers[0].lower()


def test_a_key_that_can_be_none_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAN_PROVER_API_KEY", "two secrets")
    with pytest.raises(InputError) as refused:
        settings()
    assert "secrets" not in str(refused.value)


async def test_a_password_in_the_address_is_not_shown() -> None:
    with pytest.raises(ModelUnavailable) as refused:
        await OpenAIBackend.connect(
            "http://user:secret@127.0.0.1:1/v1", patience=Patience(attempts=1), sleep=Pauses()
        )
    assert "secret" not in str(refused.value)
    assert "http://127.0.0.1:1/v1" in str(refused.value)
