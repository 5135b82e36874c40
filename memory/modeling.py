"""Llama, Qwen2 and Qwen3 with a memory: as any other model of transformers, or given to one that is loaded.

Importing this registers them, so that ``AutoModelForCausalLM.from_pretrained`` loads their checkpoints::

    model = attach(AutoModelForCausalLM.from_pretrained(folder))   # a Llama becomes a MemorizingLlama
    model.save_pretrained(other)                                   # and is one when it is loaded
    model(ids, memories=[memory])                                  # see KnnAttention for the arguments
    model.generate(ids, memories=[memory], num_beams=4)
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationMixin,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.llama.modeling_llama import LlamaAttention
from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention

from memory.attention import COMBINATIONS, KnnAttention, Recorder
from memory.copying import Copies, CopyRule
from memory.errors import MemoryInputError
from memory.lookup import Memory


class MemoryShape(NamedTuple):
    """What a memory of a model must fit."""

    #: Of the attention that reads it, counted from 0.
    layer: int
    #: Key/value heads.
    heads: int
    #: Of a key, and of a value.
    width: int


def memory_shape(model: PreTrainedModel) -> MemoryShape:
    """Return what a memory of this model must fit.

    Raises:
        MemoryInputError: it has no memory layer.
    """
    attention = _memory_layer(model)
    return MemoryShape(attention.layer_idx, model.config.num_key_value_heads, attention.head_dim)


def default_layer(layers: int) -> int:
    """Two thirds up, counted from 0: of 12 layers the ninth, as in the paper; of 6 the fifth."""
    return min(round(2 / 3 * layers), layers - 1)


def attach(
    model: PreTrainedModel,
    layer: int | None = None,
    k: int = 32,
    combine: str = "gate",
    gate: float = -2.0,
    scale: float = 10.0,
    train_layer: bool = False,
    prompts: bool = True,
    shift: int = 0,
    copy: float | None = None,
) -> PreTrainedModel:
    """Give a loaded Llama, Qwen2 or Qwen3 a memory layer; it becomes the memorizing model, in place.

    Only the gate and the scale are left to be trained, and with ``train_layer`` all of that decoder layer.
    With other attention than eager or sdpa, only ``gate`` can combine.

    Args:
        layer: counted from 0; None: :func:`default_layer`.
        k: entries that each query looks up, unless a call says otherwise.
        combine: ``gate`` or ``joint``, see :mod:`memory.attention`.
        gate: the b of each head to start with. The paper starts at 0, half and half; a model that never had
            a memory is disturbed less by one that it hardly hears.
        scale: of a cosine of query and key, to start with: about what query · key / √D comes to.
        prompts: whether a prompt's tokens will look up, but its last, which does in any case.
        shift: 1 for memories of each token's value under the key of the token before it.
        copy: with ``shift``, the cosine at which half of what is said is copied, see :mod:`memory.copying`;
            None: nothing is.

    Raises:
        MemoryInputError: a model of another family, or one that has a memory; options out of range.
    """
    family = _FAMILIES.get(type(model))
    if family is None:
        raise MemoryInputError(
            f"{type(model).__name__} takes no memory: attach: Llama, Qwen2, Qwen3 for causal language "
            "modelling, without one so far"
        )
    settings = {
        "memory_layer": default_layer(model.config.num_hidden_layers) if layer is None else layer,
        "memory_neighbours": k,
        "memory_combine": combine,
        "memory_gate": float(gate),
        "memory_scale": float(scale),
        "memory_prompts": prompts,
        "memory_shift": shift,
        "memory_copy": copy,
    }
    config = _memorizing(model.config, family.config_class, settings)
    old = model.config
    modules: Iterable[Any] = model.modules()
    for module in modules:
        if getattr(module, "config", None) is old:
            module.config = config
    model.__class__ = family
    _add_memory(model)
    _leave_to_train(model, train_layer)
    return model


def _memorizing(
    config: PreTrainedConfig, kind: type[PreTrainedConfig], settings: dict[str, Any]
) -> PreTrainedConfig:
    # A copy: the same configuration may have made other models. All else in it, the attention for one, stays.
    config = copy.deepcopy(config)
    config.__class__ = kind
    for name, value in settings.items():
        setattr(config, name, value)
    _check_settings(config)
    return config


def _check_settings(config: Any) -> None:
    layers = config.num_hidden_layers
    if not 0 <= config.memory_layer < layers:
        raise MemoryInputError(f"There is no layer {config.memory_layer}: this model has 0 to {layers - 1}")
    if config.memory_shift not in (0, 1):
        raise MemoryInputError(f"Keys are of a token itself or the one before it, not {config.memory_shift}")
    if config.memory_copy is not None and not config.memory_shift:
        raise MemoryInputError(
            "What is copied came after the token that is looked up: memory_copy goes with memory_shift 1"
        )
    if config.memory_neighbours < 1:
        raise MemoryInputError(f"{config.memory_neighbours} entries cannot be looked up: k is 1 or more")
    if config.memory_combine not in COMBINATIONS:
        raise MemoryInputError(
            f"There is no combination {config.memory_combine!r}: choose {' or '.join(COMBINATIONS)}"
        )


def _add_memory(model: Any) -> None:
    """Make the attention of the memory layer one that reads a memory; all it holds, hooks too, stays."""
    attention = model.model.layers[model.config.memory_layer].self_attn
    attention.__class__ = model.attention_class
    attention.add_memory()


def _leave_to_train(model: Any, layer: bool) -> None:
    attention = _memory_layer(model)
    model.requires_grad_(False)
    attention.memory_gate.requires_grad_(True)
    attention.memory_scale.requires_grad_(True)
    if layer:
        model.model.layers[model.config.memory_layer].requires_grad_(True)


def _memory_layer(model: PreTrainedModel) -> KnnAttention:
    for module in model.modules():
        if isinstance(module, KnnAttention):
            return module
    raise MemoryInputError(f"{type(model).__name__} has no memory layer: give it one with attach()")


# --- what the families have in common -------------------------------------------------------------


class _Memorizing(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    """Goes before a family's class for causal language modelling."""

    config_class: type[PreTrainedConfig]
    attention_class: type[KnnAttention]
    _keep_in_fp32_modules_strict = {"memory_gate", "memory_scale"}  # noqa: RUF012
    # What a look-up returns is not known to a compiler.
    _can_compile_fullgraph = False

    def __init__(self, config: Any) -> None:
        if config.memory_layer is None:
            config.memory_layer = default_layer(config.num_hidden_layers)
        _check_settings(config)
        super().__init__(config)
        _add_memory(self)

    def initialize_weights(self) -> None:
        super().initialize_weights()  # type: ignore[no-untyped-call]
        for module in self.modules():
            if isinstance(module, KnnAttention):
                module.reset_memory()

    # All are named: generate() and trainers pass on what they find here.
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        memories: Sequence[Memory | None] | None = None,
        memory_k: int | None = None,
        memory_queries: Tensor | None = None,
        recorder: Recorder | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Run the model; for the memory's arguments see :class:`~memory.attention.KnnAttention`.

        Without ``memory_queries``, tokens that a mask (B, C) marks as padding do not look up. Of a model that
        copies (:mod:`memory.copying`), the logits of tokens that found anything are log-probabilities.
        """
        run = input_ids if inputs_embeds is None else inputs_embeds
        rule = CopyRule.of(self.config)
        copies = None if rule is None or memories is None else Copies(rule)
        if memory_queries is None and memories is not None:
            memory_queries = _not_padding(attention_mask, run)
        output: CausalLMOutputWithPast = super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            labels=labels if copies is None else None,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            memories=memories,
            memory_k=memory_k,
            memory_queries=memory_queries,
            recorder=recorder,
            copies=copies,
            **kwargs,
        )
        if copies is not None:
            assert run is not None and output.logits is not None
            logits: Any = copies.mixed(output.logits, _columns(run, logits_to_keep))
            output.logits = logits
            if labels is not None:
                size = self.config.vocab_size
                output.loss = self.loss_function(logits, labels, vocab_size=size, **kwargs)
        return output

    # --- generate(): the first call runs the prompt, and each later one the new token ----------------

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Any = None,
        memories: Sequence[Memory | None] | None = None,
        **model_kwargs: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Repeat rows, for beams or several answers; a beam never leaves its row, nor its row's memory."""
        input_ids, expanded = super()._expand_inputs_for_generation(  # type: ignore[misc]
            expand_size, is_encoder_decoder, input_ids, **model_kwargs
        )
        if memories is not None:
            expanded["memories"] = [memory for memory in memories for _ in range(expand_size)]
        return input_ids, expanded

    def prepare_inputs_for_generation(
        self, *args: Any, memory_queries: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Of ``memory_queries``, which has a column for each token so far, take those that are run now."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(*args, **kwargs)  # type: ignore[misc]
        if memory_queries is not None:
            run = inputs["input_ids"] if inputs.get("inputs_embeds") is None else inputs["inputs_embeds"]
            cache = inputs.get("past_key_values")
            known = 0 if cache is None else cache.get_seq_length()
            inputs["memory_queries"] = memory_queries[:, known : known + run.shape[1]]
        return inputs

    def _update_model_kwargs_for_generation(
        self,
        outputs: Any,
        model_kwargs: dict[str, Any],
        is_encoder_decoder: bool = False,
        num_new_tokens: int = 1,
    ) -> dict[str, Any]:
        """New tokens look up."""
        updated = super()._update_model_kwargs_for_generation(
            outputs, model_kwargs, is_encoder_decoder, num_new_tokens
        )
        if (asking := updated.get("memory_queries")) is not None:
            updated["memory_queries"] = functional.pad(asking, (0, num_new_tokens), value=True)
        return updated


def _columns(tokens: Tensor, logits_to_keep: int | Tensor) -> Tensor:
    """The tokens, of those that were run, which logits are kept of."""
    columns = torch.arange(tokens.shape[1], device=tokens.device)
    return columns[slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep]


def _not_padding(mask: Any, tokens: Tensor | None) -> Tensor | None:
    """The last columns of a mask (B, C) as (B, T), bool; None where masks say it in other ways."""
    if not isinstance(mask, Tensor) or mask.dim() != 2 or tokens is None:
        return None
    return mask[:, -tokens.shape[1] :].bool()


# --- the families ---------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _MemorySettings:
    """What :func:`attach` takes; a ``memory_layer`` of None is the default layer.

    ``memory_prompts`` is for those who ask the model: whether the tokens of a prompt look up, or its last one
    alone and what is generated after it. ``memory_shift`` is for those who fill memories: 0 stores a token's
    key and value, as the paper does; 1 a token's value under the key of the token before it, so that a query
    is met by the keys of tokens that were followed by what it is looking for (as in Khandelwal et al. 2020,
    "Generalization through Memorization"). A model is to be asked as it was trained. With ``memory_copy`` it
    copies as well, see :mod:`memory.copying`.
    """

    memory_layer: int | None = None
    memory_neighbours: int = 32
    memory_combine: str = "gate"
    memory_gate: float = 0.0
    memory_scale: float = 10.0
    memory_prompts: bool = True
    memory_shift: int = 0
    memory_copy: float | None = None
    memory_copy_slope: float = 26.0
    memory_copy_scale: float = 40.0
    memory_copy_growth: float = 0.0165


class MemorizingLlamaConfig(LlamaConfig, _MemorySettings):  # type: ignore[no-untyped-call]
    model_type = "memorizing_llama"


class MemorizingQwen2Config(Qwen2Config, _MemorySettings):  # type: ignore[no-untyped-call]
    model_type = "memorizing_qwen2"


class MemorizingQwen3Config(Qwen3Config, _MemorySettings):  # type: ignore[no-untyped-call]
    model_type = "memorizing_qwen3"


class LlamaKnnAttention(KnnAttention, LlamaAttention):  # type: ignore[misc]
    pass


class Qwen2KnnAttention(KnnAttention, Qwen2Attention):
    pass


class Qwen3KnnAttention(KnnAttention, Qwen3Attention):  # type: ignore[misc]
    pass


class MemorizingLlamaForCausalLM(_Memorizing, LlamaForCausalLM):  # type: ignore[no-untyped-call]
    config_class = MemorizingLlamaConfig
    attention_class = LlamaKnnAttention


class MemorizingQwen2ForCausalLM(_Memorizing, Qwen2ForCausalLM):  # type: ignore[no-untyped-call]
    config_class = MemorizingQwen2Config
    attention_class = Qwen2KnnAttention


class MemorizingQwen3ForCausalLM(_Memorizing, Qwen3ForCausalLM):  # type: ignore[no-untyped-call]
    config_class = MemorizingQwen3Config
    attention_class = Qwen3KnnAttention


_FAMILIES: dict[type[PreTrainedModel], type[_Memorizing]] = {
    LlamaForCausalLM: MemorizingLlamaForCausalLM,
    Qwen2ForCausalLM: MemorizingQwen2ForCausalLM,
    Qwen3ForCausalLM: MemorizingQwen3ForCausalLM,
}


def register() -> None:
    """Make the classes known to ``AutoConfig`` and ``AutoModelForCausalLM``."""
    for family in _FAMILIES.values():
        AutoConfig.register(family.config_class.model_type, family.config_class, exist_ok=True)
        AutoModelForCausalLM.register(family.config_class, family, exist_ok=True)


register()
