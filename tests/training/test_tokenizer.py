"""The tokenizer gives every text back, and never makes a mark of one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.decoder.codec import Codec
from prover.decoder.prompts import Mark
from prover.errors import InputError
from prover.training.tokenizer import SMALLEST, load_tokenizer, train_tokenizer

TEXTS = [
    "List.length_append : ∀ {α : Type u} (as bs : List α), (as ++ bs).length = as.length + bs.length",
    "rw [List.length_append, Nat.add_comm]",
    "α : Type u\nxs : List α\nh₁ : xs.length = 12\n⊢ (xs ++ xs).length = 24",
] * 8
TOKENIZER = train_tokenizer(TEXTS, 400)
CODEC = Codec(TOKENIZER)

LEAN = st.text(alphabet="xs.length_append'₁⊢∀αβ→ \n\t123()[]⟨⟩<>/ENDGOALP𝒜é", max_size=60)


@given(st.one_of(st.text(max_size=60), LEAN, st.sampled_from(list(Mark)).map(str)))
def test_every_text_comes_back_and_no_mark_is_made_of_it(text: str) -> None:
    for ids in (TOKENIZER.encode(text), list(CODEC.encode((text,)))):
        assert TOKENIZER.decode(ids) == text
        assert all(place >= len(Mark) for place in ids)


def test_marks_come_first() -> None:
    assert [CODEC.mark_id(mark) for mark in Mark] == list(range(len(Mark)))
    assert (TOKENIZER.pad_token, TOKENIZER.eos_token) == (str(Mark.PAD), str(Mark.END))


def test_names_part_into_pieces_that_other_names_have() -> None:
    assert TOKENIZER.tokenize("List.length_append") == ["List", ".length", "_append"]
    assert TOKENIZER.tokenize("(xs ++ xs).length")[-1] == ".length"


def test_a_name_is_the_same_token_wherever_it_stands() -> None:
    for text in ("xs", "(xs", "f xs", "[xs]", "← xs", "xs.length"):
        assert "xs" in TOKENIZER.tokenize(text), text


def test_digits_stand_alone() -> None:
    assert TOKENIZER.tokenize("1234") == ["1", "2", "3", "4"]


def test_it_comes_back_from_its_folder(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    for text in [*TEXTS, "<GOAL> a </GOAL>"]:
        assert loaded.encode(text) == TOKENIZER.encode(text)


def test_what_is_no_tokenizer_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no tokenizer"):
        load_tokenizer(tmp_path)
    with pytest.raises(InputError, match=f"{SMALLEST} is the least"):
        train_tokenizer(TEXTS, 100)
