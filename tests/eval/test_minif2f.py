"""miniF2F: reading statements (invented ones: the data is not in this project), tags, and the core header."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from eval.benchmarks.base import Problem, Split
from eval.benchmarks.minif2f import CORE_OPENING, MiniF2F, core_header, tags
from eval.benchmarks.minif2f.expressible import Expressibility, by_reason, expressible, first_error
from eval.benchmarks.minif2f.statements import Statement, digest, mask_comments, parse, read_statements
from prover.errors import InputError
from prover.lean.messages import OpenRequest, Source
from prover.lean.pool import LeanPool

HEADER = "import Mathlib\n\nset_option maxHeartbeats 0\n\nopen BigOperators Real Nat\n"
ONE = "theorem mathd_algebra_1 (x : ℕ)\n  (h : x = 1) : x + x = 2 := by sorry"
TWO = "theorem imo_1900_p1 : 1 + 1 = 2 := by sorry"
FACTS = Path(__file__).parent / "core_header_facts.lean"


def record(text: str, split: str = "valid", **changed: object) -> str:
    fields = {"name": text.split()[1], "split": split, "header": f"{HEADER}\n", "statement": text}
    return json.dumps({**fields, **changed})


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    path = tmp_path / "statements.jsonl"
    path.write_text("\n".join([record(ONE), "", record(TWO), record(TWO.replace("p1", "p2"), "test")]))
    return path


def statement(name: str, text: str = "") -> Statement:
    return Statement(name, Split.TEST, "", text or f"theorem {name} : True := by sorry")


# --- reading ----------------------------------------------------------------------------------------


def test_a_jsonl(jsonl: Path) -> None:
    found = MiniF2F(jsonl, mathlib=True).problems(Split.VALID)
    assert [(p.id, p.header, p.statement, p.position) for p in found] == [
        ("imo_1900_p1", HEADER, TWO, 0),
        ("mathd_algebra_1", HEADER, ONE, 1),
    ]
    assert [p.id for p in MiniF2F(jsonl, mathlib=True).problems(Split.TEST)] == ["imo_1900_p2"]


def test_a_checkout_of_one_file_a_theorem_is_the_same_benchmark(jsonl: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkout" / "MiniF2F"
    for split, text in ("Valid", ONE), ("Valid", TWO), ("Test", TWO.replace("p1", "p2")):
        (folder / split).mkdir(parents=True, exist_ok=True)
        (folder / split / f"{text.split()[1]}.lean").write_text(f"{HEADER}\n{text}")
    (folder / "Valid.lean").write_text("import MiniF2F.Valid.imo_1900_p1\n")
    assert read_statements(folder.parent) == read_statements(jsonl)


def test_a_checkout_of_one_file_a_split_is_the_same_benchmark(jsonl: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkout" / "MiniF2F"
    folder.mkdir(parents=True)
    one, two = ONE.replace("by sorry", "by\nsorry"), TWO.replace("p1", "p2").replace("by sorry", "sorry")
    valid = f"{HEADER}\n/-- One. -/\n{one}\n\n-- Two\n{TWO}\n\n"
    (folder / "Valid.lean").write_text(valid.replace("\n", "\r\n"))
    (folder / "Test.lean").write_text(f"{HEADER}\n{two}\n")
    assert read_statements(folder.parent) == read_statements(jsonl)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("theorem a : p := by simp", ":1: not a theorem that ends"),
        ("open Nat\n\ntheorem a : p := by sorry\nopen Real\ntheorem b : p := by sorry", ":3: not a theorem"),
        ("theorem a : p := by sorry\ndef b := 1", ":1: not a theorem"),
        ("theorem a : p := by sorry\ntheorem b : p := by\n  have := sorry\n  sorry", ":2: not a theorem"),
        ("theorem a : p", ":1: not a theorem"),
    ],
)
def test_what_is_no_list_of_statements_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text, "F.lean")


def test_a_comment_at_the_end_of_a_statement_does_not_swallow_its_proof() -> None:
    found = parse("theorem a :\n  p -- that is all\n  := by sorry -- TODO\n", "F.lean")
    assert found.theorems == (("a", "theorem a :\n  p := by sorry"),)


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}'?", fullmatch=True)
COMMENTS = st.sampled_from(["", "-- theorem x : p := by sorry\n", "/- /- theorem y -/ -- -/\n", "/-- 1 -/\n"])
BODIES = st.sampled_from([" (h : p) :\n  q", " : p -- why\n  ∧ q", " :\n  /- theorem z -/ 1 = 1"])
PROOFS = st.sampled_from([" := by sorry\n", " := sorry\n", " :=\nby\n  sorry -- done\n"])


@given(st.lists(st.tuples(NAMES, COMMENTS, BODIES, PROOFS), min_size=1, max_size=5))
def test_a_file_comes_apart_into_what_it_was_made_of(parts: list[tuple[str, str, str, str]]) -> None:
    text = HEADER + "".join(f"{comment}theorem {name}{body}{proof}\n" for name, comment, body, proof in parts)
    found = parse(text, "F.lean")
    assert found.header == HEADER
    assert found.theorems == tuple((name, f"theorem {name}{body} := by sorry") for name, _, body, _ in parts)


@given(st.lists(st.sampled_from(["/-", "-/", "--", "\n", "-", "/", "a", " "]), max_size=30).map("".join))
def test_masking_keeps_every_position(text: str) -> None:
    masked = mask_comments(text)
    assert len(masked) == len(text)
    assert all(b == a or (b == " " and a != "\n") for a, b in zip(text, masked, strict=True))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":1: not JSON"),
        ("[]", ":1: not an object with the strings name, split, header, statement"),
        (record(ONE, header=None), ":1: not an object"),
        (record(ONE, split="train"), ":1: the split is 'train', not one of valid, test"),
        (record(ONE, name="b"), ":1: the statement is not the one theorem 'b'"),
        (record(ONE, statement=f"open Nat\n{ONE}"), ":1: the statement is not the one theorem"),
        (f"{record(ONE)}\n{record(ONE)}", "more than one statement named mathd_algebra_1"),
        ("\n", "holds no statement"),
    ],
)
def test_a_wrong_jsonl_says_where_and_why(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(line)
    with pytest.raises(InputError, match=message):
        read_statements(path)


def test_a_wrong_path_says_what_to_give(tmp_path: Path) -> None:
    for path in tmp_path / "nowhere", tmp_path:
        with pytest.raises(InputError, match=r"should be a checkout of https:.*, or a JSONL file"):
            read_statements(path)


def test_a_split_that_is_not_there_is_an_error(jsonl: Path) -> None:
    with pytest.raises(InputError, match="no statement of the split train"):
        MiniF2F(jsonl, mathlib=False).problems(Split.TRAIN)


# --- problems ---------------------------------------------------------------------------------------


def test_without_mathlib_the_core_header_is_part_of_the_version(jsonl: Path) -> None:
    published, core = MiniF2F(jsonl, mathlib=True), MiniF2F(jsonl, mathlib=False)
    assert published.version == "5746b7d" and core.version.startswith("5746b7d+core.")
    mine, theirs = core.problems(Split.VALID)[0], published.problems(Split.VALID)[0]
    assert mine.prelude == core_header() and not theirs.prelude and mine.statement == theirs.statement
    assert mine.statement_hash != theirs.statement_hash and mine.version == core.version


def test_the_source_names_the_pinned_commit_only_for_its_statements(jsonl: Path) -> None:
    (problem, *_) = MiniF2F(jsonl, mathlib=True).problems(Split.VALID)
    valid = [one for one in read_statements(jsonl) if one.split is Split.VALID]
    assert problem.source == f"2 statements, sha256 {digest(valid)}"


def test_a_digest_does_not_depend_on_order_or_line_breaks() -> None:
    one, two = statement("a"), statement("b")
    other = statement("b", two.text.replace(" : ", "\n  : "))
    assert digest([one, two]) == digest([other, one]) != digest([one])
    assert digest([one, two]) != digest([one, statement("b", "theorem b : False := by sorry")])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mathd_algebra_10", "category:algebra difficulty:mathd"),
        ("mathd_numbertheory_10", "category:number_theory difficulty:mathd"),
        ("algebra_absapbon1p", "category:algebra difficulty:custom"),
        ("numbertheory_2dvd", "category:number_theory difficulty:custom"),
        ("induction_sum_odd", "category:induction difficulty:custom"),
        ("aimeII_2001_p3", "category:aime difficulty:aime"),
        ("amc12a_2020_p1", "category:amc difficulty:amc"),
        ("imo_1990_p3", "category:imo difficulty:imo"),
        ("my_own", "category:other difficulty:other"),
        ("amc12a_2019_p12", "category:amc difficulty:amc known:wrong"),
        ("mathd_algebra_314", "category:algebra difficulty:mathd known:trivial"),
    ],
)
def test_tags(name: str, expected: str) -> None:
    assert tags(statement(name)) == tuple(expected.split())


def test_a_statement_that_was_corrected_is_not_called_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    right = statement("amc12a_2019_p12")
    entry = {"name": right.name, "known": "wrong", "source": "", "corrected": right.digest}
    monkeypatch.setattr("eval.benchmarks.minif2f._load", lambda name: [entry])
    assert tags(right)[2:] == ("known:corrected",)


# --- what is expressible ----------------------------------------------------------------------------


def problem(text: str) -> Problem:
    text = f"theorem a {text} := by sorry"
    return Problem("a", "minif2f", "", Split.VALID, None, CORE_OPENING, text, (), "", 0, core_header())


def test_reasons_are_counted_by_their_first_line() -> None:
    errors = ["x\n1", "y", "", "x\n2"]
    found = [Expressibility(problem(": True"), error) for error in errors]
    assert by_reason(found) == [("x", ["a", "a"]), ("y", ["a"])]


def test_the_command_needs_statements_that_are_there(tmp_path: Path) -> None:
    from eval.cli.main import main

    result = CliRunner().invoke(main, ["expressible", "minif2f", "--statements", str(tmp_path / "x")])
    assert result.exit_code == 2 and "no such file" in result.stderr


@pytest.mark.lean
@pytest.mark.asyncio(loop_scope="session")
async def test_the_core_header_means_what_mathlib_means(lean_pool: LeanPool) -> None:
    process = await lean_pool.acquire()
    try:
        text = core_header() + CORE_OPENING + FACTS.read_text(encoding="utf-8")
        answer = await process.ask(OpenRequest(Source("Facts", "Facts.lean", text)), 300)
    finally:
        await lean_pool.release(process)
    assert first_error(answer) == "" and not answer.sorries and not answer.messages


EXPRESSIBLE = {
    "(x : ℤ) : ¬Even x ↔ Odd x": "",
    "(n : ℕ) : ∑ k ∈ Finset.range n, (2 * k : ℤ) = n * (n - 1)": "",
    ": IsLeast {n : ℕ | 6 ∣ n !} 3": "",
    "(S : Finset ℤ) (h : ∀ x, x ∈ S ↔ abs x ≤ 2) : S.card = 5": "",
    "(q : ℚ) (h : 2 * q = 3) : q.den = 2": "",
    "(x : ℝ) : x = x": "Unknown identifier `ℝ`",
    "(x : ZMod 7) : x = x": "Unknown identifier `ZMod`",
    # What is no statement of Mathlib's must not become one by a definition that is too narrow or too wide.
    "(n : ℕ) : abs n = n": "failed to synthesize",
    ": ∑ k ∈ Finset.Icc (0 : ℚ) 1, k = 1": "failed to synthesize",
}


@pytest.mark.lean
@pytest.mark.asyncio(loop_scope="session")
async def test_what_does_not_elaborate_is_not_expressible(lean_pool: LeanPool) -> None:
    found = [one async for one in expressible(lean_pool, map(problem, EXPRESSIBLE))]
    for one, expected in zip(found, EXPRESSIBLE.values(), strict=True):
        assert one.error.startswith(expected) and bool(one.error) == bool(expected), one
