"""A decoder from a folder or the Hugging Face hub, onto a device; what can be wrong with it has its error.

Code that comes with a checkpoint is never run, nor weights read that could hold some (only safetensors).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memory.errors import MemoryInputError
from prover.decoder.codec import Codec, is_ours
from prover.decoder.precision import avoid_planned_attention
from prover.decoder.weights import (
    adapter_file,
    hash_files,
    parameters,
    read_json,
    tensors_of,
    weights_files,
)
from prover.errors import InputError, ModelUnavailable

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from memory.catalogue import MemoryKind

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json", "merges.txt")
_CONFIGS = ("config.json", "generation_config.json")
#: What the kinds of models with a memory layer begin with (see :mod:`memory.modeling`).
_MEMORIZING = "memorizing_"
#: Tokens of a model that does not say how many it takes.
_SOME_CONTEXT = 2048


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A decoder that is ready to run, with its tokenizer."""

    model: PreTrainedModel
    #: The folder's name, or the hub id.
    name: str
    #: 16 hex digits of weights, configuration and tokenizer.
    content_hash: str
    tokenizer: PreTrainedTokenizerBase
    #: Our own tokenizer; None where the model has another one.
    codec: Codec | None
    #: Tokens of a prompt and its continuation, at most.
    max_context: int

    def count(self, text: str) -> int:
        """How many tokens the text has."""
        if self.codec is not None:
            return self.codec.count(text)
        return len(self.tokenizer.encode(text, add_special_tokens=False))

    @property
    def memory_kind(self) -> MemoryKind | None:
        """What its memories must be of; None where it has no memory layer."""
        if not _is_memorizing(self.model.config.model_type):
            return None
        from memory.catalogue import MemoryKind
        from memory.modeling import memory_shape

        return MemoryKind(self.content_hash, *memory_shape(self.model))

    @property
    def description(self) -> str:
        """One line for people."""
        millions = self.model.num_parameters() / 1e6
        where = f"{self.model.device}, {str(self.model.dtype).removeprefix('torch.')}"
        return f"{self.name} ({millions:.1f} M parameters, {where})"


def load_checkpoint(source: str, device: str | None = None, dtype: str | None = None) -> LoadedModel:
    """Load a decoder: a checkpoint's folder, that of a LoRA adapter (merged into its base), or a hub id.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1`` ...; None takes the GPU if there is one.
        dtype: ``float32``, ``bfloat16``, ``float16``; None: see :func:`choose_dtype`.

    Raises:
        InputError: there is no such checkpoint, it is damaged, no decoder, or its tokenizer is another's.
        ModelUnavailable: the hub or the GPU is out of reach, or memory does not suffice.
    """
    place = choose_device(device)
    kind = choose_dtype(dtype, place)
    _be_quiet()
    avoid_planned_attention()
    folder = find_folder(source)
    base = _base_folder(folder)
    config = _config(base)
    files = weights_files(base)
    tokenizer = _tokenizer(folder if _has_tokenizer(folder) else base)
    _check_memory(parameters(files), kind, place, source)
    model = _model(base, kind)
    if base != folder:
        model = _merged(model, folder, len(tokenizer))
        files = [*files, adapter_file(folder), folder / "adapter_config.json"]
    codec = Codec(tokenizer) if is_ours(tokenizer) else None
    _check_rows(model, codec.size if codec else len(tokenizer), source)
    return LoadedModel(
        model=model.to(place).eval().requires_grad_(False),  # type: ignore[arg-type]
        name=folder.resolve().name if Path(source).is_dir() else source,
        content_hash=hash_files([*files, *_described_by(base, folder)]),
        tokenizer=tokenizer,
        codec=codec,
        max_context=_max_context(config),
    )


# --- where it is, and what it is ------------------------------------------------------------------


def find_folder(source: str) -> Path:
    """The folder of a checkpoint; one of the hub is downloaded, unless it has been already.

    Raises:
        InputError: there is no such folder, nor such a model.
        ModelUnavailable: it may be on the hub, which does not answer.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"{source} is a file: give the folder of the checkpoint.")
    # A folder's name that was mistyped looks like a hub id as well.
    near = folder.parent != Path() and folder.parent.is_dir()
    if near or not _HUB_ID.fullmatch(source):
        raise InputError(f"There is no folder {source}: give that of a checkpoint, or a hub id (owner/name).")
    return _download(source)


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=["*.safetensors", "*.json", "*.txt", "*.model"]))
    except RepositoryNotFoundError as error:
        raise InputError(
            f"There is no folder {hub_id}, and no such model on the Hugging Face hub (or it is private)."
        ) from error
    except OSError as error:
        raise ModelUnavailable(
            f"There is no folder {hub_id}, and the Hugging Face hub is out of reach: download the model "
            "where there is a network, and give its folder."
        ) from error


def _base_folder(folder: Path) -> Path:
    """The folder of the full weights: another one, if this is an adapter's."""
    if not (folder / "adapter_config.json").is_file():
        return folder
    base = str(read_json(folder / "adapter_config.json").get("base_model_name_or_path") or "")
    if not base:
        raise InputError(f"{folder} is an adapter that does not name its base model.")
    # Where it was when the adapter was made, or beside the adapter.
    beside = folder / base
    return beside if not Path(base).is_dir() and beside.is_dir() else find_folder(base)


def _described_by(base: Path, folder: Path) -> list[Path]:
    """The files, if they exist, that say what the weights are and what their tokens mean."""
    places = [base] if base == folder else [base, folder]
    return [*(base / name for name in _CONFIGS), *(at / name for at in places for name in _TOKENIZER_FILES)]


def _config(folder: Path) -> PretrainedConfig:
    """Read what kind of model it is, and refuse what is no decoder."""
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is no checkpoint: it has no config.json.")
    raw = read_json(folder / "config.json")
    if _is_memorizing(raw.get("model_type")):
        # transformers knows these kinds once it is imported.
        import memory.modeling  # noqa: F401
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} is of an unknown kind of model ({raw.get('model_type')}).") from error
    kinds = [str(kind) for kind in config.architectures or ()]
    if config.is_encoder_decoder or not any(kind.endswith(("ForCausalLM", "LMHeadModel")) for kind in kinds):
        kind = ", ".join(kinds) or config.model_type
        raise InputError(f"{folder} is no decoder ({kind}): a causal language model is needed.")
    if getattr(config, "quantization_config", None) is not None:
        raise InputError(f"{folder} is quantised: serve it, with vLLM for one, and name the server instead.")
    return config


def _is_memorizing(kind: object) -> bool:
    return str(kind).startswith(_MEMORIZING)


def _max_context(config: PretrainedConfig) -> int:
    """Tokens that the model takes; within a sliding window, attention is as without one."""
    text = config.get_text_config()
    window = (
        text.sliding_window
        if getattr(text, "use_sliding_window", True) and hasattr(text, "sliding_window")
        else None
    )
    limits = [getattr(text, "max_position_embeddings", None), window]
    return min([int(limit) for limit in limits if limit], default=_SOME_CONTEXT)


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _TOKENIZER_FILES[:3])


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    if not _has_tokenizer(folder):
        raise InputError(f"{folder} has no tokenizer: copy the one that the model was trained with into it.")
    if (folder / "tokenizer.json").is_file():
        read_json(folder / "tokenizer.json")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The tokenizer in {folder} cannot be read ({error}).") from error


# --- the model ------------------------------------------------------------------------------------


def _model(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except MemoryInputError as error:
        raise InputError(f"The config.json in {folder} is damaged. {error}") from error
    model: PreTrainedModel = loaded[0]
    found: dict[str, Any] = loaded[1]
    # They would be random.
    missing = sorted({*found["missing_keys"], *(str(key[0]) for key in found["mismatched_keys"])})
    if missing:
        raise InputError(
            f"The weights in {folder} are not those of its config.json: {missing[0]} and {len(missing) - 1} "
            "more are missing or have another shape."
        )
    return model


def _merged(model: PreTrainedModel, folder: Path, tokens: int) -> PreTrainedModel:
    """The model with an adapter added to its weights."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise InputError(
            f"{folder} is an adapter, which needs peft: pip install 'lean-prover[train]'."
        ) from error
    rows = _rows(model)
    if tokens > rows:
        if not any("embed" in name or "lm_head" in name for name in tensors_of(adapter_file(folder))):
            raise InputError(
                f"{folder} has a tokenizer of {tokens} tokens, its base model {rows} rows of embeddings, and "
                "the adapter brings none: save it with its embeddings (save_embedding_layers=True of peft)."
            )
        model.resize_token_embeddings(tokens, mean_resizing=False)
    tensors_of(adapter_file(folder))
    try:
        return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()  # type: ignore
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"The adapter in {folder} does not fit its base model ({error}).") from error


def _rows(model: PreTrainedModel) -> int:
    weight: torch.Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
    return weight.shape[0]


def _check_rows(model: PreTrainedModel, tokens: int, source: str) -> None:
    if tokens > (rows := _rows(model)):
        raise InputError(
            f"The tokenizer of {source} has {tokens} tokens and the model {rows} rows of embeddings: they do "
            "not belong together. Use the tokenizer that was saved with the model."
        )


# --- the machine ----------------------------------------------------------------------------------


def choose_device(name: str | None) -> torch.device:
    """The device of that name, or the best there is.

    Raises:
        InputError: there is no such name.
        ModelUnavailable: there is no such GPU.
    """
    import torch

    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"There is no device {name}: cpu, cuda, cuda:0, cuda:1 ...")
    device = torch.device(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ModelUnavailable(f"{name} was asked for, and torch sees {count} GPUs: try --device cpu.")
    return device


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The type of that name; without a name half precision on a GPU, and float32 on a CPU.

    A CPU with instructions for bfloat16 is up to twice as fast with it, but then what a prompt is answered
    depends on the batch that it is in, and runs with several searches at once cannot be repeated exactly.

    Raises:
        InputError: there is no such name.
    """
    import torch

    if name:
        if name not in _DTYPES:
            raise InputError(f"There is no type {name}: {', '.join(_DTYPES)}.")
        return getattr(torch, _DTYPES[name])  # type: ignore[no-any-return]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def available_memory(device: torch.device) -> int:
    """Bytes that are free on the device."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def _check_memory(count: int, dtype: torch.dtype, device: torch.device, source: str) -> None:
    needed, free = count * dtype.itemsize, available_memory(device)
    if needed > free:
        raise ModelUnavailable(
            f"{source} needs {needed / 1e9:.1f} GB for its weights, and {free / 1e9:.1f} GB are free on "
            f"{device}: use a smaller model, --dtype bfloat16, or a server."
        )


def _be_quiet() -> None:
    """What transformers prints while it loads is not for the person at the terminal."""
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def end_ids(loaded: LoadedModel) -> Sequence[int]:
    """The tokens that end a text of a model with a tokenizer of its own; there may be none."""
    generation = getattr(loaded.model, "generation_config", None)
    places = (generation, loaded.model.config.get_text_config(), loaded.tokenizer)
    found = next((it for it in (getattr(p, "eos_token_id", None) for p in places) if it is not None), ())
    return (found,) if isinstance(found, int) else tuple(found)
