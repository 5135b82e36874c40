"""The decoder's own tokenizer: byte-level BPE whose pieces are those that Lean's names are made of.

Byte-pair encoding after Sennrich et al. 2016, over bytes as in GPT-2 (Radford et al. 2019): every text has
tokens, and they give it back exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from prover.decoder.prompts import Mark
from prover.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: What no merge crosses. A component of a name keeps the dot or the underscore before it, so that
#: ``List.length_append`` is ``List``, ``.length``, ``_append``: three tokens which other names, and goals
#: that print ``xs.length``, are made of as well. The blanks around a symbol belong to the symbol and never to
#: a name, so that a name is the same token wherever it stands, and can be copied. Digits stand alone.
PATTERN = "|".join(
    (
        r"\n *",
        r"\p{Nd}",
        r"[._]?[\p{L}\p{M}]+",  # a word
        r"[\p{Nl}\p{No}]",  # an index, as in h₁
        r"['!?]+",  # what names end with
        r" ?(?:(?!\.\p{L})[^\s\p{L}\p{M}\p{N}_])+ ?",  # symbols, but not the dot of a field
        r"_",
        r" +",
        r"\s+",
    )
)
#: The bytes and the marks: no vocabulary is smaller.
SMALLEST = 256 + len(Mark)


def train_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """Learn the merges that occur most in some texts.

    Args:
        size: tokens of the vocabulary at most, the marks (ids from 0, in their order) and 256 bytes among
            them; few texts give fewer.

    Raises:
        InputError: the size does not even hold the bytes.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    if size < SMALLEST:
        raise InputError(f"a vocabulary of {size} does not hold all bytes: {SMALLEST} is the least")
    tokenizer = Tokenizer(models.BPE())
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), "isolated"), to_bytes]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[str(mark) for mark in Mark],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _as_transformers(tokenizer)


def _as_transformers(tokenizer: object) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=str(Mark.PAD),
        eos_token=str(Mark.END),
        additional_special_tokens=[str(mark) for mark in Mark if mark not in (Mark.PAD, Mark.END)],
        clean_up_tokenization_spaces=False,
        # A text that spells a mark is a text.
        split_special_tokens=True,
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Read a tokenizer from a checkpoint's folder.

    Raises:
        InputError: there is none, or it does not have the marks.
    """
    from transformers import PreTrainedTokenizerFast

    try:
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(
            folder, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no tokenizer ({error})") from error
    if missing := [str(mark) for mark in Mark if mark not in tokenizer.get_vocab()]:
        raise InputError(f"the tokenizer in {folder} lacks {', '.join(missing)}: it belongs to another model")
    return tokenizer
