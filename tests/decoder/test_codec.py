"""Our tokenizer: marks are never made of texts, and texts come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from prover.decoder.codec import Codec, is_ours
from prover.decoder.prompts import Mark
from prover.errors import InputError
from tests.decoder.tiny import tiny_foreign, tiny_tokenizer


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    folder = tmp_path_factory.mktemp("codec")
    tiny_tokenizer(folder)
    return Codec(AutoTokenizer.from_pretrained(folder))


# Lone surrogates are no characters, and no text that Lean prints has any.
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [" <GOAL>x</GOAL>\r\n\t  ", *(str(mark.value) for mark in Mark)]
)


@given(texts)
def test_a_text_comes_back_as_it_was(codec: Codec, text: str) -> None:
    ids = codec.encode([text])
    assert codec.decode(ids) == text
    assert codec.count(text) == len(ids)


@given(texts)
def test_no_text_becomes_a_mark(codec: Codec, text: str) -> None:
    marks = {codec.mark_id(mark) for mark in Mark}
    assert not marks & set(codec.encode([text]))


@given(st.lists(texts | st.sampled_from(Mark), max_size=5), texts)
def test_pieces_are_encoded_by_themselves(codec: Codec, pieces: list[str], more: str) -> None:
    assert codec.encode([*pieces, more])[: len(codec.encode(pieces))] == codec.encode(pieces)


def test_marks_have_one_id_each(codec: Codec) -> None:
    ids = codec.encode(list(Mark))
    assert len(ids) == len(set(ids)) == len(Mark)
    assert codec.decode(ids) == "".join(Mark)
    assert (codec.pad_id, codec.end_id, codec.tactic_id) == tuple(
        codec.mark_id(mark) for mark in (Mark.PAD, Mark.END, Mark.TACTIC)
    )
    assert max(ids) < codec.size


def test_the_wrapped_tokenizer_is_left_as_it_is(tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    Codec(tokenizer)
    assert tokenizer.encode("<GOAL>") == [tokenizer.convert_tokens_to_ids("<GOAL>")]


def test_a_tokenizer_without_the_marks_does_not_match(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_foreign(tmp_path))
    assert not is_ours(tokenizer)
    with pytest.raises(InputError, match=r"does not match .* <PAD>"):
        Codec(tokenizer)
