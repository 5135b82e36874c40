"""How much a model is to copy from its memory: fitted to what it says and finds on modules that it never saw.

Fitted are the four numbers of :class:`memory.copying.CopyRule`, and no weight of the model. Another model
finds what it looks for at other cosines, and is to have its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from memory.copying import Copies, CopyRule, Number, copied, relative_size, share
from prover.training.dataset import IGNORED
from prover.training.memory_figures import Turn

#: The scales of cosines that are tried, and where the search for the other two begins.
SCALES = (20.0, 30.0, 40.0, 60.0)
_BEGIN = CopyRule(centre=0.6, slope=20.0, scale=40.0, growth=0.01)
_STEPS = 300


@dataclass(frozen=True, slots=True)
class Seen:
    """N learned tokens that found something."""

    #: (N,), of the right token: the model's probability, and that of copying it for each scale (N, S).
    own: Tensor
    copied: Tensor
    #: (N,), the mean over heads of the nearest entry's cosine.
    nearest: Tensor
    #: (N,), the memory's relative size.
    size: Tensor

    def loss(self, rule: CopyRule, scale: int) -> Tensor:
        """The mean negative log-likelihood under a rule, with the scale of this place."""
        return self.loss_of(rule.centre, rule.slope, rule.growth, scale)

    def loss_of(self, centre: Number, slope: Number, growth: Number, scale: int) -> Tensor:
        """The same, for numbers that may be searched for."""
        part = share(self.nearest, self.size, centre, slope, growth).sigmoid()
        return -((1.0 - part) * self.own + part * self.copied[:, scale]).clamp(min=1e-12).log().mean()

    def __add__(self, other: Seen) -> Seen:
        """Both."""
        pairs = ((getattr(self, it.name), getattr(other, it.name)) for it in fields(self))
        return Seen(*(torch.cat(pair) for pair in pairs))


@torch.no_grad()
def seen(model: Any, turns: Iterable[Turn], scales: Sequence[float] = SCALES) -> Seen:
    """Run a model over documents, and see what it would copy.

    Args:
        model: one that does not copy yet (``memory_copy`` None).
    """
    model.eval()
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for turn in turns:
        if turn.memory is None:
            raise ValueError("nothing is looked up without a memory")
        copies = Copies(_BEGIN)
        inputs = {name: it for name, it in turn.batch.items() if name != "labels"}
        hidden = model.model(**inputs, **turn.extra, copies=copies, use_cache=False).last_hidden_state
        for heard in copies.heard:
            after = heard.places + 1
            known = (after < hidden.shape[1]) & (heard.tokens >= 0).any(dim=(1, 2))
            rows, places, after = heard.rows[known], heard.places[known], after[known]
            labels = turn.batch["labels"][rows, after]
            learned = labels != IGNORED
            labels, own = labels[learned], model.lm_head(hidden[rows[learned], places[learned]])
            cosines, tokens = (it[known][learned] for it in (heard.cosines, heard.tokens))
            near = [copied(cosines, tokens, scale, own) for scale in scales]
            right = [it.gather(1, labels[:, None])[:, 0] for it, _ in near]
            said = own.float().softmax(dim=-1).gather(1, labels[:, None])[:, 0]
            size = torch.full_like(said, relative_size(heard.entries))
            found.append((said, torch.stack(right, dim=1), near[0][1], size))
    return Seen(*(torch.cat(parts).double() for parts in zip(*found, strict=True)))


def set_rule(model: Any, rule: CopyRule | None) -> None:
    """Have a model copy by a rule, or not at all; its checkpoint keeps it."""
    if rule is None:
        model.config.memory_copy = None
    else:
        rule.into(model.config)


def fit(seen: Seen, scales: Sequence[float] = SCALES) -> CopyRule:
    """Return the rule under which what was seen is most likely."""
    fitted = [_fitted(seen, place, scale) for place, scale in enumerate(scales)]
    return min(fitted, key=lambda rule: float(seen.loss(rule, scales.index(rule.scale))))


def _fitted(seen: Seen, place: int, scale: float) -> CopyRule:
    """The best centre, slope and growth for a scale, by L-BFGS."""
    # They are searched for in units of about the same size.
    begin = [_BEGIN.centre / 0.1, _BEGIN.slope / 10.0, _BEGIN.growth / 0.01]
    numbers = torch.tensor(begin, dtype=torch.double, requires_grad=True)
    search = torch.optim.LBFGS([numbers], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        total = seen.loss_of(0.1 * numbers[0], 10.0 * numbers[1], 0.01 * numbers[2], place)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    search.step(loss)  # type: ignore[no-untyped-call]
    centre, slope, growth = numbers.detach().tolist()
    return CopyRule(0.1 * centre, 10.0 * slope, scale, 0.01 * growth)
