"""Tiny random checkpoints: a tokenizer trained on a few strings, and a Llama of some thousand parameters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from prover.decoder.prompts import Mark

TEXTS = (
    "theorem Nat.add_comm (a b : Nat) : a + b = b + a",
    "a b : Nat\n⊢ a + b = b + a",
    "x y : α\nh : x = y\n⊢ y = x",
    "induction b with\n  | zero => simp\n  | succ n ih => rw [Nat.add_succ, ih, Nat.succ_add]",
    "exact h.symm",
    "intro x hx",
    "simp_all",
)


def tiny_tokenizer(folder: Path, vocabulary: int = 300, alphabet: str | None = None) -> None:
    """Save a byte-level BPE tokenizer with the marks.

    Args:
        alphabet: its only letters, without merges, so that any ids have a text and any text has one way to
            be written in ids; None takes all bytes.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    marks = [AddedToken(mark.value, special=True, normalized=False) for mark in Mark]
    trainer = trainers.BpeTrainer(
        vocab_size=len(marks) + len(alphabet) if alphabet else vocabulary,
        special_tokens=marks,
        initial_alphabet=[] if alphabet else sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([alphabet] if alphabet else TEXTS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=Mark.PAD.value, eos_token=Mark.END.value
    )
    fast.save_pretrained(folder)


def tiny_model(folder: Path, rows: int, seed: int = 0, context: int = 256, **config: int) -> None:
    """Save a random Llama with so many rows of embeddings."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=rows, max_position_embeddings=context, tie_word_embeddings=False, **shape | config
        )
    )
    # As it is made, all next tokens are about as probable.
    with torch.no_grad():
        model.lm_head.weight.mul_(20.0)
    model.save_pretrained(folder)


def tiny_checkpoint(
    folder: Path,
    seed: int = 0,
    vocabulary: int = 300,
    alphabet: str | None = None,
    context: int = 256,
    **config: int,
) -> Path:
    """Save a random checkpoint of our own kind, and return its folder.

    Args:
        config: further settings of the Llama, ``hidden_size=64`` for one.
    """
    tiny_tokenizer(folder, vocabulary, alphabet)
    tiny_model(folder, _rows(folder), seed, context, **config)
    return folder


def tiny_memorizing(folder: Path, seed: int = 0, alphabet: str | None = None, prompts: bool = True) -> Path:
    """Save a random checkpoint of our own kind with a memory layer, and return its folder.

    It is the second layer of three, with 2 key/value heads of width 8, and it makes much of its memory.
    """
    from transformers import LlamaForCausalLM

    from memory.modeling import attach

    tiny_checkpoint(folder, seed, alphabet=alphabet, num_hidden_layers=3, num_key_value_heads=2)
    model = LlamaForCausalLM.from_pretrained(folder)
    attach(model, layer=1, k=4, gate=1.0, prompts=prompts).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return folder


def tiny_foreign(folder: Path, seed: int = 0, words: Sequence[str] = TEXTS) -> Path:
    """Save a random GPT-2 with a tokenizer of its own, and return its folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(words, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
    torch.manual_seed(seed)
    end = tokenizer.token_to_id("<|endoftext|>")
    GPT2LMHeadModel(
        GPT2Config(
            vocab_size=300,
            n_positions=128,
            n_embd=32,
            n_layer=2,
            n_head=4,
            bos_token_id=end,
            eos_token_id=end,
        )
    ).save_pretrained(folder)
    return folder


def _rows(folder: Path) -> int:
    model = json.loads((folder / "tokenizer.json").read_text())
    return max([*model["model"]["vocab"].values(), *(token["id"] for token in model["added_tokens"])]) + 1
