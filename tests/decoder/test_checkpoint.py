"""Loading a decoder: what works, and each thing that can be wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prover.decoder import checkpoint
from prover.decoder.checkpoint import choose_device, choose_dtype, load_checkpoint
from prover.decoder.prompts import Mark
from prover.errors import InputError, ModelUnavailable
from tests.decoder.tiny import tiny_checkpoint, tiny_foreign, tiny_model

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A checkpoint to damage."""
    return Path(shutil.copytree(made, tmp_path / "model"))


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


# --- what works -----------------------------------------------------------------------------------


def test_a_checkpoint_of_ours(made: Path) -> None:
    loaded = load_checkpoint(str(made), "cpu", "float32")
    assert loaded.codec is not None
    assert loaded.codec.size == loaded.model.get_input_embeddings().weight.shape[0]
    assert (loaded.name, loaded.max_context) == (made.name, 256)
    assert loaded.count("exact h.symm") == len(loaded.codec.encode(["exact h.symm"]))
    assert (loaded.model.dtype, loaded.model.training) == (torch.float32, False)
    assert "cpu, float32" in loaded.description
    assert load_checkpoint(str(made), "cpu", "bf16").model.dtype == torch.bfloat16


def test_a_model_with_its_own_tokenizer(tmp_path: Path) -> None:
    loaded = load_checkpoint(str(tiny_foreign(tmp_path)), "cpu", "float32")
    assert loaded.codec is None
    assert (loaded.max_context, loaded.count("x y")) == (128, len(loaded.tokenizer.encode("x y")))
    assert checkpoint.end_ids(loaded) == (loaded.tokenizer.eos_token_id,)


def test_the_hash_is_that_of_the_contents(folder: Path, made: Path, tmp_path: Path) -> None:
    def content_hash(of: Path) -> str:
        return load_checkpoint(str(of), "cpu", "float32").content_hash

    first = content_hash(folder)
    assert first == content_hash(made)
    assert len(first) == 16
    change(folder / "config.json", rms_norm_eps=1e-5)
    second = content_hash(folder)
    tiny_model(folder, 300, seed=1)
    assert len({first, second, content_hash(folder)}) == 3


def test_a_sharded_checkpoint(folder: Path) -> None:
    whole = load_checkpoint(str(folder), "cpu", "float32")
    (folder / "model.safetensors").unlink()
    whole.model.save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    shards = load_checkpoint(str(folder), "cpu", "float32")
    assert torch.equal(whole.model.lm_head.weight, shards.model.lm_head.weight)
    min(folder.glob("model-*.safetensors")).unlink()
    with pytest.raises(InputError, match=r"lacks weights \(model-00001"):
        load_checkpoint(str(folder))


@pytest.mark.parametrize("relative", [True, False])
def test_an_adapter_is_merged_into_its_base(folder: Path, tmp_path: Path, relative: bool) -> None:
    peft = pytest.importorskip("peft")
    base = load_checkpoint(str(folder), "cpu", "float32")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(load_checkpoint(str(folder), "cpu", "float32").model, config)
    adapter = tmp_path / "adapter"
    adapted.save_pretrained(adapter)
    named = "../model" if relative else str(folder)
    change(adapter / "adapter_config.json", base_model_name_or_path=named)
    loaded = load_checkpoint(str(adapter), "cpu", "float32")
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(loaded.model(ids).logits, adapted.eval()(ids).logits)
    assert not torch.allclose(loaded.model(ids).logits, base.model(ids).logits)
    assert loaded.content_hash != base.content_hash
    assert loaded.name == "adapter"
    change(adapter / "adapter_config.json", base_model_name_or_path="")
    with pytest.raises(InputError, match="does not name its base"):
        load_checkpoint(str(adapter))
    change(adapter / "adapter_config.json", base_model_name_or_path=named)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match="adapter without weights"):
        load_checkpoint(str(adapter))


# --- what is wrong with a folder ------------------------------------------------------------------


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def torn_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "lla')


def strange_config(folder: Path) -> None:
    change(folder / "config.json", model_type="perceptron")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])


def pointer_instead_of_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version 1\noid sha256:4d7a\nsize 12345\n")


def empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def weights_without_a_layer(folder: Path) -> None:
    change(folder / "config.json", num_hidden_layers=3)


def weights_of_another_shape(folder: Path) -> None:
    change(folder / "config.json", intermediate_size=64)


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def torn_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": ')


def tokenizer_of_a_larger_model(folder: Path) -> None:
    tiny_model(folder, 290)


def tokenizer_without_a_mark(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text().replace(Mark.PROOF.value, "<OTHER>")
    (folder / "tokenizer.json").write_text(text)


def encoder_and_decoder(folder: Path) -> None:
    change(folder / "config.json", model_type="t5", architectures=["T5ForConditionalGeneration"])


def encoder(folder: Path) -> None:
    change(folder / "config.json", model_type="bert", architectures=["BertForMaskedLM"])


def quantised(folder: Path) -> None:
    change(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (no_config, "no checkpoint: it has no config.json"),
        (torn_config, r"config\.json cannot be read"),
        (strange_config, r"unknown kind of model \(perceptron\)"),
        (no_weights, r"holds no weights: model\.safetensors is needed"),
        (pickled_weights, r"only pytorch_model\.bin, which may run code"),
        (cut_weights, "torn"),
        (pointer_instead_of_weights, "torn"),
        (empty_weights, "torn"),
        (weights_without_a_layer, r"not those of its config\.json: .*layers\.2"),
        (weights_of_another_shape, r"not those of its config\.json: .*mlp"),
        (no_tokenizer, "has no tokenizer"),
        (torn_tokenizer, r"tokenizer\.json cannot be read"),
        (tokenizer_of_a_larger_model, "has 300 tokens and the model 290 rows"),
        (tokenizer_without_a_mark, "does not match this program: <PROOF>"),
        (encoder_and_decoder, r"no decoder \(T5ForConditionalGeneration\)"),
        (encoder, r"no decoder \(BertForMaskedLM\)"),
        (quantised, "quantised"),
    ],
)
def test_damage_is_told(folder: Path, damage: Callable[[Path], None], told: str) -> None:
    damage(folder)
    with pytest.raises(InputError, match=told):
        load_checkpoint(str(folder), "cpu", "float32")


def test_what_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="There is no folder"):
        load_checkpoint(str(tmp_path / "missing"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        load_checkpoint(str(tmp_path / "file"))
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("models/typo", "neither folder nor id", "a/b/c"):
        with pytest.raises(InputError, match="There is no folder"):
            load_checkpoint(name)


def test_a_hub_id_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailable, match=r"hub is out of reach: download the model"):
        load_checkpoint("nobody/has-this-model")


# --- what is wrong with the machine ---------------------------------------------------------------


def test_a_model_too_big_for_memory(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "available_memory", lambda device: 1000)
    with pytest.raises(ModelUnavailable, match=r"needs 0\.0 GB for its weights, and 0\.0 GB are free on cpu"):
        load_checkpoint(str(made), "cpu", "float32")


def test_memory_is_measured_in_the_type_that_is_loaded(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = load_checkpoint(str(made), "cpu", "float32").model.num_parameters()
    monkeypatch.setattr(checkpoint, "available_memory", lambda device: 3 * size)
    load_checkpoint(str(made), "cpu", "bfloat16")
    with pytest.raises(ModelUnavailable, match="are free"):
        load_checkpoint(str(made), "cpu", "float32")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(None) == choose_device("cpu") == torch.device("cpu")
    for name in ("gpu", "cuda:x", "cpu:0:1"):
        with pytest.raises(InputError, match="There is no device"):
            choose_device(name)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(ModelUnavailable, match="torch sees 0 GPUs"):
            choose_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device(None) == choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ModelUnavailable, match="torch sees 1 GPUs"):
        choose_device("cuda:1")


@pytest.mark.parametrize("fast", [True, False], ids=["bfloat16", "older"])
def test_types(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert choose_dtype("fp16", cpu) == torch.float16
    assert choose_dtype("float32", cuda) == torch.float32
    with pytest.raises(InputError, match="There is no type float8: float32, fp32"):
        choose_dtype("float8", cpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast)
    assert choose_dtype(None, cpu) == torch.float32
    assert choose_dtype(None, cuda) == (torch.bfloat16 if fast else torch.float16)
