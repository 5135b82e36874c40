"""How much is to be copied, fitted: against probabilities that are known, and with a tiny model."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from memory.copying import CopyRule
from memory.lookup import Memory
from prover.decoder.checkpoint import load_checkpoint
from prover.training.copying import SCALES, Seen, fit, seen, set_rule
from prover.training.memory_figures import perplexities, turns
from tests.decoder.tiny import tiny_memorizing
from tests.training.test_memory_figures import TOLD, nothing

torch.set_num_threads(1)


def test_the_rule_that_made_the_data_is_found() -> None:
    """What was near is what was said, as a rule has it; only one scale says what is right."""
    rule = CopyRule(centre=0.7, slope=25.0, scale=30.0, growth=0.02)
    draw = torch.Generator().manual_seed(0)
    nearest = torch.rand(40_000, generator=draw).double()
    half = len(nearest) // 2
    share = torch.cat([rule.share(nearest[:half], 1024), rule.share(nearest[half:], 65_536)]).sigmoid()
    size = (torch.arange(len(nearest)) >= half) * math.log(64.0)
    is_copied = torch.rand(len(nearest), generator=draw).double() < share
    own = torch.where(is_copied, 0.001, 0.5).double()
    right = torch.where(is_copied, 0.9, 0.001).double()
    copied = torch.stack([right if scale == rule.scale else 0.2 * right for scale in SCALES], dim=1)
    parts = [Seen(own[some], copied[some], nearest[some], size[some]) for some in (size == 0, size > 0)]
    found = fit(parts[0] + parts[1])
    assert found.scale == rule.scale
    assert found.centre == pytest.approx(rule.centre, abs=0.02)
    assert found.slope == pytest.approx(rule.slope, rel=0.15)
    assert found.growth == pytest.approx(rule.growth, abs=0.004)


def test_a_model_is_better_off_with_the_rule_that_was_fitted_to_it(tmp_path: Path) -> None:
    loaded = load_checkpoint(str(tiny_memorizing(tmp_path, seed=1)), "cpu", "float32")
    config = loaded.model.config
    config.memory_shift = 1

    def measured() -> dict[str, float]:
        return perplexities(loaded.model, turns(loaded.model, TOLD, nothing, 100, 0))

    plain = measured()
    what = seen(loaded.model, turns(loaded.model, TOLD, nothing, 100, 0))
    assert len(what.own) == len(what.copied) == len(what.nearest) > 0
    rule = fit(what)
    set_rule(loaded.model, rule)
    assert CopyRule.of(config) == rule
    copying = measured()
    # Lessons alone look up anything: declarations are read in one go.
    assert copying["declarations"] == pytest.approx(plain["declarations"], rel=1e-5)
    assert copying["lessons"] < plain["lessons"]
    ours = float(what.loss(rule, SCALES.index(rule.scale)))
    assert ours < float(what.loss(CopyRule(2.0, 20.0, 40.0, 0.0), 2)), "than copying nothing"
    set_rule(loaded.model, None)
    assert measured() == pytest.approx(plain)


def test_without_a_memory_there_is_nothing_to_fit(tmp_path: Path) -> None:
    loaded = load_checkpoint(str(tiny_memorizing(tmp_path, seed=1)), "cpu", "float32")

    def none(module: str, size: int) -> Memory | None:
        return None

    with pytest.raises(ValueError, match="without a memory"):
        seen(loaded.model, turns(loaded.model, TOLD, none, 0, 0))
