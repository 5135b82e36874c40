"""Weights between those of two checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from prover.cli.main import main
from prover.decoder.checkpoint import load_checkpoint
from prover.errors import InputError
from prover.training.blend import blend
from tests.decoder.tiny import tiny_checkpoint


def test_weights_lie_in_between_and_what_is_new_stays(tmp_path: Path) -> None:
    first, second = tiny_checkpoint(tmp_path / "a"), tiny_checkpoint(tmp_path / "b")
    weights = load_file(second / "model.safetensors")
    moved = {name: tensor + 1.0 for name, tensor in weights.items()}
    save_file({**moved, "gate": torch.ones(2)}, second / "model.safetensors", {"format": "pt"})
    assert blend(first, second, 0.25, tmp_path / "out") == len(weights)
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(found.pop("gate"), torch.ones(2))
    assert all(torch.allclose(found[name], weights[name] + 0.25, atol=1e-2) for name in weights)


def test_what_is_blended_can_be_asked(tmp_path: Path) -> None:
    first, second = tiny_checkpoint(tmp_path / "a"), tiny_checkpoint(tmp_path / "b")
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["blend", str(first), str(second), "--out", str(out)])
    assert done.exit_code == 0 and load_checkpoint(str(out)).codec is not None
    again = CliRunner().invoke(main, ["blend", str(first), str(second), "--out", str(out)])
    assert again.exit_code == 2 and "holds something else" in again.output


def test_what_does_not_belong_together_is_told(tmp_path: Path) -> None:
    first = tiny_checkpoint(tmp_path / "a")
    with pytest.raises(InputError, match=r"must both hold model\.safetensors"):
        blend(first, tmp_path / "none", 0.5, tmp_path / "out")
    (tmp_path / "other").mkdir()
    save_file({"x": torch.ones(1)}, tmp_path / "other" / "model.safetensors")
    with pytest.raises(InputError, match="was not trained on from"):
        blend(first, tmp_path / "other", 0.5, tmp_path / "out")
