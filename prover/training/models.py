"""The model that is trained: a small Llama made anew, or any decoder with our marks added to its tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from prover.decoder.prompts import Mark
from prover.errors import InputError
from prover.training.circuits import begin_with_copying
from prover.training.recipe import Recipe, Shape
from prover.training.tokenizer import train_tokenizer

#: As Llama 3 has it: half of a head's dimensions then hardly turn over a prompt, and tell what a token is.
_ROPE_THETA = 500_000.0
#: The gates of a new memory: a quarter of what a head says comes from it at first.
_GATE = -1.0
#: What a cosine is multiplied by in its softmax, at first: the nearest of some hundred keys is to stand out.
_SCALE = 20.0


def tokenizer_for(recipe: Recipe, texts: Iterable[str]) -> Any:
    """Make the tokenizer of a new model from some texts; of another one, take its own and add our marks.

    Raises:
        InputError: the base has none.
    """
    if recipe.shape is not None:
        return train_tokenizer(texts, recipe.shape.vocabulary)
    try:
        tokenizer = AutoTokenizer.from_pretrained(recipe.base)
    except (OSError, ValueError) as error:
        raise InputError(f"{recipe.base} has no tokenizer that can be loaded: {error}") from error
    marks = [str(mark) for mark in Mark]
    tokenizer.add_special_tokens({"additional_special_tokens": marks}, replace_extra_special_tokens=False)
    tokenizer.pad_token, tokenizer.eos_token = str(Mark.PAD), str(Mark.END)
    return tokenizer


def model_for(recipe: Recipe, tokenizer: Any) -> Any:
    """Make the model to train: equal recipes and tokenizers have equal ones.

    Raises:
        InputError: the base cannot be loaded, or does not fit the recipe or its tokenizer.
    """
    torch.manual_seed(recipe.seed)
    if recipe.shape is not None:
        model = _new(recipe.shape, recipe.length, tokenizer)
        if recipe.induction:
            begin_with_copying(model, recipe.seed)
        return with_memory(model) if recipe.memory else model
    model = _loaded(recipe, tokenizer)
    if recipe.memory:
        return with_memory(model)
    return _with_adapters(model, tokenizer, recipe.lora) if recipe.lora else model


def _new(shape: Shape, length: int, tokenizer: Any) -> Any:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        rope_parameters={"rope_type": "default", "rope_theta": _ROPE_THETA},
    )
    return LlamaForCausalLM(config)  # type: ignore[no-untyped-call]


def _loaded(recipe: Recipe, tokenizer: Any) -> Any:
    """The base, with rows for our marks in its embeddings; they start at about the mean of the others."""
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(recipe.base, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"{recipe.base} cannot be loaded: {error}") from error
    limit = getattr(model.config, "max_position_embeddings", recipe.length)
    if recipe.length > limit:
        raise InputError(f"{recipe.base} takes {limit} tokens, not {recipe.length}: shorten --length")
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows + len(Mark):
        raise InputError(
            f"the tokenizer of {recipe.base} has {len(tokenizer)} tokens, its model {rows} rows of "
            "embeddings: they do not belong together"
        )
    if len(tokenizer) > rows:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=True)
    for config in (model.config, model.generation_config):
        config.pad_token_id, config.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    return model


def with_memory(model: Any) -> Any:
    """The model with a memory layer, all of it to be trained; one that has a memory keeps it as it is.

    Raises:
        InputError: it is of a family that takes none.
    """
    from memory.errors import MemoryInputError
    from memory.modeling import attach, memory_shape

    try:
        memory_shape(model)
    except MemoryInputError:
        try:
            model = attach(model, gate=_GATE, scale=_SCALE, prompts=False, shift=1)
        except MemoryInputError as error:
            raise InputError(str(error)) from error
    return model.requires_grad_(True)


def _with_adapters(model: Any, tokenizer: Any, rank: int) -> Any:
    """The model with adapters in all its linear layers; of its embeddings, those of the marks are trained."""
    from peft import LoraConfig, get_peft_model

    layers = [model.get_input_embeddings()]
    if not model.config.tie_word_embeddings:
        layers.append(model.get_output_embeddings())
    names = [name.rpartition(".")[2] for name, module in model.named_modules() if module in layers]
    marks = tokenizer.convert_tokens_to_ids([str(mark) for mark in Mark])
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        trainable_token_indices=dict.fromkeys(names, marks),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def merged(model: Any) -> Any:
    """The model without adapters, what they learned being in its weights."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
