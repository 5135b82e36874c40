"""The HTTP service under good clients and bad ones, over real sockets, with a scripted prover behind it."""

from __future__ import annotations

import asyncio
from collections import Counter
from urllib.parse import urlsplit

import httpx
import pytest

from prover.serve import guards
from prover.serve.app import ServeLimits
from tests.serve.scripted import ScriptedProver, serving

TRUE, SLOW = {"statement": "true"}, {"statement": "slow"}


async def raw(url: str, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send bytes as they are, part by part, and return what comes back until the connection ends."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(), 10.0)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def head(length: int | None = None, *lines: str) -> bytes:
    own = [f"Content-Length: {length}"] if length is not None else []
    text = "\r\n".join(["POST /prove HTTP/1.1", "Host: x", "Content-Type: application/json", *own, *lines])
    return f"{text}\r\n\r\n".encode()


async def until(condition: object, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


# --- answers ----------------------------------------------------------------------------------------------


async def test_the_three_questions_are_answered() -> None:
    prover = ScriptedProver()
    async with serving(prover, ServeLimits(seconds=7.0)) as url, httpx.AsyncClient(base_url=url) as client:
        proved = await client.post("/prove", json={"statement": "true", "seconds": 100, "max_expansions": 5})
        body = proved.json()
        assert proved.status_code == 200 and body["proved"] is True
        assert body["theorems"][0]["proof"] == ["trivial"] and body["text"].endswith("by trivial")
        (asked,) = prover.asked
        assert (asked["timeout"], asked["max_expansions"]) == (7.0, 5)  # the server's limit holds
        assert asked["text"].endswith("statement : true := by sorry\n")
        failed = await client.post("/prove", json={"statement": "false"})
        assert failed.status_code == 200 and failed.json()["proved"] is False
        suggested = await client.post("/suggest", json={"goal": "⊢ p", "try_them": False})
        assert suggested.json()["tactics"][0] == {
            "tactic": "exact h.2", "logprob": -0.5, "outcome": "untried", "goals": [], "message": ""
        }  # fmt: skip
        looked = await client.post("/lookup", json={"goal": "⊢ a + b = b + a"})
        assert looked.json() == {"declarations": [{"name": "Nat.add_comm", "weight": 3.5}]}
        assert (await client.get("/health")).json()["status"] == "ok"


async def test_a_file_is_taken_as_it_is() -> None:
    prover = ScriptedProver()
    async with serving(prover, ServeLimits()) as url, httpx.AsyncClient(base_url=url) as client:
        await client.post("/prove", json={"statement": "theorem a : true := sorry\n"})
    assert prover.asked[0]["text"] == "theorem a : true := sorry\n"


async def test_the_page_needs_nothing_else_and_names_all_questions() -> None:
    async with serving(ScriptedProver(), ServeLimits()) as url, httpx.AsyncClient(base_url=url) as client:
        page = (await client.get("/docs")).text
        assert all(path in page for path in ("/prove", "/suggest", "/lookup", "max_expansions"))
        assert "http" not in page.replace("http:", "") and "<script" not in page
        assert set((await client.get("/openapi.json")).json()["paths"]) >= {"/prove", "/suggest", "/lookup"}


async def test_faults_are_told_by_whose_they_are() -> None:
    async with serving(ScriptedProver(), ServeLimits()) as url, httpx.AsyncClient(base_url=url) as client:
        wrong = await client.post("/prove", json={"statement": "wrong"})
        assert (wrong.status_code, wrong.json()) == (422, {"error": "line 1: unknown identifier"})
        broken = await client.post("/prove", json={"statement": "broken"})
        assert broken.status_code == 503 and broken.headers["Retry-After"]


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        (b'{"statement": ', 400, "JSON"),
        (b"", 422, "required"),
        (b"[]", 422, "valid dictionary"),
        (b"{}", 422, "statement: Field required"),
        (b'{"statement": ""}', 422, "at least 1 character"),
        (b'{"statement": 7}', 422, "statement: Input should be a valid string"),
        (b'{"statement": "true", "secnods": 3}', 422, "secnods: Extra inputs are not permitted"),
        (b'{"statement": "true", "seconds": -1}', 422, "greater than 0"),
        (b'\xff\xfe{"statement"', 400, ""),
    ],
)
async def test_bad_questions_are_refused(body: bytes, status: int, part: str) -> None:
    prover = ScriptedProver()
    async with serving(prover, ServeLimits()) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/prove", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status and part in answer.json()["error"], answer.text
    assert not prover.asked


# --- load and bad clients ---------------------------------------------------------------------------


async def test_a_hundred_clients_at_once_are_answered_or_told_to_come_later() -> None:
    prover = ScriptedProver(seconds=0.05)
    limits = ServeLimits(seats=2, waiting=20)
    async with serving(prover, limits) as url, httpx.AsyncClient(base_url=url, timeout=30.0) as client:
        answers = await asyncio.gather(*(client.post("/prove", json=TRUE) for _ in range(100)))
        counts = Counter(answer.status_code for answer in answers)
        assert set(counts) == {200, 503} and counts[200] >= 22 and prover.most == 2
        assert all(a.headers["Retry-After"] for a in answers if a.status_code == 503)
        assert (await client.post("/prove", json=TRUE)).status_code == 200
        assert (await client.get("/health")).json()["inside"] == 0


async def test_huge_bodies_are_refused_whether_they_say_so_or_not() -> None:
    prover = ScriptedProver()
    async with serving(prover, ServeLimits(body=1000)) as url:
        assert b" 413 " in (await raw(url, head(10**9), b"x")).split(b"\r\n")[0]
        chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
        chunked = head(None, "Transfer-Encoding: chunked")
        assert b" 413 " in (await raw(url, chunked + chunk * 2)).split(b"\r\n")[0]
    assert not prover.asked


async def test_a_slow_body_holds_no_seat_and_is_cut_off() -> None:
    prover = ScriptedProver()
    limits = ServeLimits(seats=1, waiting=0, body_seconds=0.5)
    async with serving(prover, limits) as url, httpx.AsyncClient(base_url=url) as client:
        slow = [asyncio.create_task(raw(url, head(100), *[b"{"] * 20, pause=0.1)) for _ in range(10)]
        await asyncio.sleep(0.2)
        assert (await client.post("/prove", json=TRUE)).status_code == 200
        for answer in await asyncio.gather(*slow):
            assert answer == b"" or b" 408 " in answer.split(b"\r\n")[0]


async def test_a_slow_head_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "HEAD_SECONDS", 0.3)
    async with serving(ScriptedProver(), ServeLimits()) as url:
        begun = asyncio.get_running_loop().time()
        assert await raw(url, *[b"P", b"O", b"S", b"T"] * 10, pause=0.1) == b""
        assert asyncio.get_running_loop().time() - begun < 6.0
        assert await raw(url) == b""  # who says nothing at all is cut off too


async def test_a_client_that_goes_away_stops_its_search() -> None:
    prover = ScriptedProver()
    async with serving(prover, ServeLimits(seats=1, waiting=4)) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            asking = [asyncio.create_task(client.post("/prove", json=SLOW)) for _ in range(3)]
            await until(lambda: prover.running == 1)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        await until(lambda: prover.running == 0)
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.post("/prove", json=TRUE)).status_code == 200
            assert (await client.get("/health")).json()["inside"] == 0


async def test_no_answer_in_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prover.serve.app.GRACE_SECONDS", 0.1)
    prover = ScriptedProver()
    limits = ServeLimits(seconds=0.2)
    async with serving(prover, limits) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.post("/prove", json=SLOW)).status_code == 504
    assert prover.cancelled == 1 and prover.running == 0


async def test_ending_the_service_ends_what_is_under_way() -> None:
    prover = ScriptedProver()
    async with serving(prover, ServeLimits()) as url:
        client = httpx.AsyncClient(base_url=url, timeout=30.0)
        asking = asyncio.create_task(client.post("/prove", json=SLOW))
        await until(lambda: prover.running == 1)
    assert prover.running == 0
    await asyncio.gather(asking, return_exceptions=True)
    await client.aclose()
