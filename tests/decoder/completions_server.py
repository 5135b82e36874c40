"""A small completions server over a real model on the CPU, with the fields that the client needs.

    with CompletionsServer(folder) as server:
        backend = await OpenAIBackend.connect(server.url)

It speaks the part of the OpenAI protocol that vLLM speaks: ``n``, ``seed`` (sample i has seed + i), ``stop``,
and the log-probabilities at temperature 1 of all tokens, the one that ended the text included.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


@dataclass
class _Sample:
    random: Any
    tokens: list[int] = field(default_factory=list)
    #: Natural, one a token, at temperature 1.
    logprobs: list[float] = field(default_factory=list)


class CompletionsServer:
    """Used with ``with``; then :attr:`url` is where it is."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        prompt = request["prompt"]
        ids = self.tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else prompt
        with self._one_at_a_time:
            samples = self._sample(ids, request)
        generated = sum(len(sample.tokens) for sample in samples)
        usage = {"prompt_tokens": len(ids), "completion_tokens": generated}
        return {"choices": [self._choice(sample, request) for sample in samples], "usage": usage}

    def _sample(self, ids: list[int], request: dict[str, Any]) -> list[_Sample]:
        """Draw all samples side by side; those that have ended drop out."""
        import torch

        samples = [_Sample(torch.Generator().manual_seed(request["seed"] + i)) for i in range(request["n"])]
        for _ in range(request["max_tokens"]):
            going = [sample for sample in samples if self._end(sample, request) is None]
            if not going:
                break
            with torch.inference_mode():
                logits = (
                    self.model(torch.tensor([ids + sample.tokens for sample in going])).logits[:, -1].double()
                )
            for sample, row in zip(going, logits, strict=True):
                sample.tokens.append(_drawn(row, request["temperature"], sample.random))
                sample.logprobs.append(float(torch.log_softmax(row, -1)[sample.tokens[-1]]))
        return samples

    def _end(self, sample: _Sample, request: dict[str, Any]) -> str | None:
        """Return the text that ended a sample; "" is the end token, None: nothing yet."""
        if sample.tokens[-1:] == [self.tokenizer.eos_token_id]:
            return ""
        return next((stop for stop in request.get("stop", ()) if stop in self._text(sample)), None)

    def _choice(self, sample: _Sample, request: dict[str, Any]) -> dict[str, Any]:
        text, end = self._text(sample), self._end(sample, request)
        return {
            "text": text[: text.index(end)] if end else text,
            "finish_reason": "length" if end is None else "stop",
            "logprobs": {"token_logprobs": sample.logprobs},
        }

    def _text(self, sample: _Sample) -> str:
        return str(self.tokenizer.decode(sample.tokens, skip_special_tokens=True))


def _drawn(logits: Any, temperature: float, random: Any) -> int:
    import torch

    if temperature == 0.0:
        return int(logits.argmax())
    return int(torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=random))


def _handler(server: CompletionsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({"data": [{"id": "tiny", "max_model_len": 256}]})

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(server.complete(request))

        def _answer(self, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
