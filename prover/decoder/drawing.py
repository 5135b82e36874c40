"""How continuations are drawn from a model: by sampling, or by beam search.

Each prompt is drawn by itself from its logits alone: its answer does not depend on the batch it is in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from prover.decoder.branches import Branches, Move

#: The text of some ids if they have come to an end, or None.
Ending = Callable[[tuple[int, ...]], str | None]
#: Whether some ids may be followed by a token.
Allows = Callable[[tuple[int, ...], int], bool]
#: Tokens of a branch that are looked at where not all are allowed, and steps of a beam for each that goes on.
_LOOKED_AT = 64


@dataclass(frozen=True, slots=True)
class Continuation:
    """Tokens after a prompt."""

    ids: tuple[int, ...] = ()
    #: Natural log-probability of the tokens at temperature 1.
    logprob: float = 0.0
    #: Its text once it has ended by itself.
    text: str | None = None

    def then(self, token: int, logprob: float, ending: Ending) -> Continuation:
        ids = (*self.ids, token)
        return Continuation(ids, self.logprob + logprob, ending(ids))


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for all continuations of a prompt."""

    n: int
    #: Tokens at most, the end included.
    max_tokens: int
    #: (V,), true for tokens that are never drawn. They keep their share of the probability.
    forbidden: Tensor
    ending: Ending
    #: Whether tokens may go on with another, or end; None: any may.
    allows: Allows | None = None


class Drawing(Protocol):
    """The continuations of one prompt under way."""

    def step(self, logits: Tensor) -> list[Move]:
        """Draw a token for each branch from its logits (W, V); return the branches that go on, if any."""
        ...

    def drawn(self) -> list[Continuation]:
        """The continuations, the most probable first."""
        ...


def draw(branches: Branches, logits: Tensor, drawings: Sequence[Drawing], check: Callable[[], None]) -> None:
    """Draw until all have ended.

    Args:
        branches: one of each prompt.
        logits: (B, V), those after the prompts.
        check: called before each step; what it raises ends the drawing.
    """
    active, after = list(drawings), logits[:, None]
    while active:
        check()
        moves = [drawing.step(own) for drawing, own in zip(active, after, strict=True)]
        active = [drawing for drawing, own in zip(active, moves, strict=True) if own]
        if active:
            after = branches.advance(moves)


class Sampler:
    """Samples n times by the Gumbel-max trick; samples that are still alike share a branch."""

    def __init__(self, limits: Limits, temperature: float, noise: Noise) -> None:
        self._limits = limits
        self._temperature = temperature
        self._noise = noise
        self._alive = [Continuation()] * limits.n
        #: The branch of each that is alive.
        self._branches = [0] * limits.n
        self._ended: list[Continuation] = []

    def step(self, logits: Tensor) -> list[Move]:
        branches = torch.tensor(self._branches, device=logits.device)
        logprobs = logits[: max(self._branches) + 1].float().log_softmax(dim=-1)
        tokens = self._pick(logprobs, branches)
        gained = logprobs[branches, tokens].tolist()
        moves: dict[Move, int] = {}
        alive, places = [], []
        for sample, branch, token, logprob in zip(
            self._alive, self._branches, tokens.tolist(), gained, strict=True
        ):
            child = sample.then(token, logprob, self._limits.ending)
            if child.text is not None or len(child.ids) >= self._limits.max_tokens:
                self._ended.append(child)
            else:
                alive.append(child)
                places.append(moves.setdefault((branch, token), len(moves)))
        self._alive, self._branches = alive, places
        return list(moves)

    def _pick(self, logprobs: Tensor, branches: Tensor) -> Tensor:
        """A token for each sample, from the log-probabilities (W, V) of its branch."""
        scores = logprobs.masked_fill(self._limits.forbidden, -torch.inf)
        if self._temperature == 0.0:
            noisy = scores[branches]
        else:
            noise = self._noise(len(branches), logprobs.shape[-1])
            noisy = scores[branches] / self._temperature - noise.log()
        if self._limits.allows is None:
            return noisy.argmax(dim=-1)
        best = noisy.topk(min(_LOOKED_AT, noisy.shape[-1]), dim=-1).indices.tolist()
        picked = [self._first_allowed(*it) for it in zip(self._alive, best, strict=True)]
        return torch.tensor(picked, device=logprobs.device)

    def _first_allowed(self, sample: Continuation, tokens: Sequence[int]) -> int:
        """The best token that may follow; the best of all where none of them may."""
        assert self._limits.allows is not None
        allowed = (token for token in tokens if self._limits.allows(sample.ids, token))
        return next(allowed, tokens[0])

    def drawn(self) -> list[Continuation]:
        return sorted(self._ended, key=lambda sample: -sample.logprob)


class Beam:
    """Beam search of width n by the plain sum of log-probabilities.

    It stops once n have ended and none under way is more probable: a sum can only fall.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._alive = [Continuation()]
        self._ended: list[Continuation] = []

    def step(self, logits: Tensor) -> list[Move]:
        alive, self._alive = self._alive, []
        moves: list[Move] = []
        for parent, token, logprob in self._best(logits[: len(alive)], alive):
            child = alive[parent].then(token, logprob, self._limits.ending)
            if child.text is not None:
                self._ended.append(child)
            elif len(moves) < self._limits.n:
                self._alive.append(child)
                moves.append((parent, token))
        self._ended = _best_first(self._ended)[: self._limits.n]
        return [] if self._is_over() else moves

    def _best(self, logits: Tensor, alive: Sequence[Continuation]) -> list[tuple[int, int, float]]:
        """The most probable steps, twice as many as go on: half of them may end."""
        logprobs = logits.double().log_softmax(dim=-1)
        sums = torch.tensor([beam.logprob for beam in alive], dtype=torch.float64, device=logits.device)
        totals = (logprobs + sums[:, None]).masked_fill(self._limits.forbidden, -torch.inf).flatten()
        wanted, allows = 2 * self._limits.n, self._limits.allows
        best, places = totals.topk(min(wanted if allows is None else _LOOKED_AT * wanted, len(totals)))
        places = places[best > -torch.inf]
        gained = logprobs.flatten()[places].tolist()
        size = logprobs.shape[-1]
        steps = ((*divmod(place, size), gain) for place, gain in zip(places.tolist(), gained, strict=True))
        if allows is None:
            return list(steps)
        return list(islice((it for it in steps if allows(alive[it[0]].ids, it[1])), wanted))

    def _is_over(self) -> bool:
        if not self._alive or len(self._alive[0].ids) >= self._limits.max_tokens:
            return True
        full = len(self._ended) >= self._limits.n
        return full and self._alive[0].logprob <= self._ended[-1].logprob

    def drawn(self) -> list[Continuation]:
        missing = self._limits.n - len(self._ended)
        return _best_first([*self._ended, *self._alive[:missing]])


def _best_first(continuations: Sequence[Continuation]) -> list[Continuation]:
    return sorted(continuations, key=lambda continuation: -continuation.logprob)


class Noise:
    """Exponential noise that is all a prompt's own: it depends on a seed and the prompt alone."""

    def __init__(self, seed: int, prompt: Sequence[int], device: torch.device) -> None:
        import numpy as np

        text = repr((seed, tuple(prompt))).encode()
        mixed = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
        self._device = device
        if device.type == "cpu":
            # Ten times as fast as torch is.
            self._numbers = np.random.Generator(np.random.SFC64(mixed))
        else:
            self._generator = torch.Generator(device).manual_seed(mixed)

    def __call__(self, rows: int, columns: int) -> Tensor:
        """The next (rows, columns) of them, above 0."""
        if self._device.type == "cpu":
            import numpy as np

            drawn = torch.from_numpy(self._numbers.standard_exponential((rows, columns), dtype=np.float32))
        else:
            drawn = torch.empty(rows, columns, device=self._device).exponential_(generator=self._generator)
        return drawn.clamp_(min=1e-20)
