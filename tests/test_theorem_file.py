"""Reading Lean files, putting proofs in, writing them back, and finding what they import."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.errors import InputError
from prover.theorem_file import (
    Replacement,
    TheoremFile,
    imports_of,
    module_name,
    project_sources,
    read_theorem_file,
    splice,
    write_atomically,
)

MULTI = ("intro h", "omega")
INDUCTION = ("induction n with", "| zero => simp", "| succ n ih => omega")


def replacement(text: str, lines: tuple[str, ...], tactic: bool = True, nth: int = 0) -> Replacement:
    """The nth ``sorry`` of a text as Lean counts."""
    seen = text.removeprefix("\ufeff").replace("\r\n", "\n")
    at = -1
    for _ in range(nth + 1):
        at = seen.index("sorry", at + 1)
    start = len(seen[:at].encode())
    return Replacement(start, start + 5, lines, tactic)


def spliced(text: str, *lines: str, tactic: bool = True) -> str:
    return splice(text, [replacement(text, lines, tactic)])


# --- layout -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("theorem a : p := by sorry\n", "theorem a : p := by simp\n"),
        ("theorem a : p := by\n  sorry -- why\n", "theorem a : p := by\n  simp -- why\n"),
        ("  · sorry\n", "  · simp\n"),
        ("  constructor <;> sorry\n", "  constructor <;> simp\n"),
        ("  sorry <;> rfl\n", "  (simp) <;> rfl\n"),
        ("  exact ⟨by sorry, by rfl⟩\n", "  exact ⟨by simp, by rfl⟩\n"),
        ("  first | sorry | rfl\n", "  first | (simp) | rfl\n"),
        ("  | zero => sorry\n  | succ n ih => rfl\n", "  | zero => simp\n  | succ n ih => rfl\n"),
    ],
)
def test_one_tactic_stands_where_the_sorry_stood(text: str, expected: str) -> None:
    assert spliced(text, "simp") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("theorem a : p := by sorry\n", "theorem a : p := by\n  intro h\n  omega\n"),
        ("theorem a : p := by sorry -- why\n", "theorem a : p := by\n  intro h\n  omega -- why\n"),
        ("theorem a : p := by sorry", "theorem a : p := by\n  intro h\n  omega"),
        ("theorem a\n    (x : p) : q := by sorry", "theorem a\n    (x : p) : q := by\n  intro h\n  omega"),
        ("theorem a (x : p → q) : p := by sorry\n", "theorem a (x : p → q) : p := by\n  intro h\n  omega\n"),
        ("  sorry\n", "  intro h\n  omega\n"),
        ("theorem a : p := by\n  sorry\n", "theorem a : p := by\n  intro h\n  omega\n"),
        ("  · sorry\n  · rfl\n", "  · intro h\n    omega\n  · rfl\n"),
        ("  have h : p := by sorry\n  rfl\n", "  have h : p := by\n    intro h\n    omega\n  rfl\n"),
        ("  · have : p := by sorry\n    rfl\n", "  · have : p := by\n      intro h\n      omega\n    rfl\n"),
        ("  | zero => sorry\n  | s => rfl\n", "  | zero =>\n    intro h\n    omega\n  | s => rfl\n"),
        ("  intro x; sorry\n", "  intro x; (intro h\n            omega)\n"),
        ("  constructor <;>\n    sorry\n", "  constructor <;>\n    (intro h\n     omega)\n"),
        ("  (sorry; rfl)\n", "  ((intro h\n    omega); rfl)\n"),
        ("  exact foo (by sorry)\n", "  exact foo (by intro h\n                omega)\n"),
        ("  sorry\n    <;> rfl\n", "  (intro h\n   omega)\n    <;> rfl\n"),
        (
            "  calc a = b := by sorry\n    _ = c := rfl\n",
            "  calc a = b := by intro h\n                   omega\n    _ = c := rfl\n",
        ),
    ],
)
def test_several_tactics_keep_to_lean_columns(text: str, expected: str) -> None:
    assert spliced(text, *MULTI) == expected


def test_a_proof_that_ends_in_alternatives_does_not_take_the_next_case() -> None:
    text = "  | zero => sorry\n  | succ n ih => rfl\n"
    assert spliced(text, "rcases h with h") == "  | zero => (rcases h with h)\n  | succ n ih => rfl\n"


def test_a_comma_is_not_taken_by_the_tactic_before_it() -> None:
    assert spliced("⟨by sorry, x⟩", "exists 1") == "⟨by (exists 1), x⟩"


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        ("theorem a : p := sorry\n", ("simp",), "theorem a : p := by simp\n"),
        ("theorem a : p := sorry\n", MULTI, "theorem a : p := by\n  intro h\n  omega\n"),
        ("theorem a : p :=\n  sorry\n", MULTI, "theorem a : p :=\n  by\n    intro h\n    omega\n"),
        ("theorem a : p :=\n  Or.inl sorry\n", ("simp",), "theorem a : p :=\n  Or.inl (by simp)\n"),
        ("  ⟨sorry, sorry⟩\n", ("simp",), "  ⟨(by simp), sorry⟩\n"),
        ("  exact f sorry x\n", MULTI, "  exact f (by intro h\n              omega) x\n"),
        ("def a : p := sorry\n  |>.b\n", ("simp",), "def a : p := (by simp)\n  |>.b\n"),
        ("def a := (sorry : p)\n", ("simp",), "def a := ((by simp) : p)\n"),
    ],
)
def test_a_term_becomes_a_block(text: str, lines: tuple[str, ...], expected: str) -> None:
    assert spliced(text, *lines, tactic=False) == expected


def test_structured_lines_keep_their_own_indentation() -> None:
    lines = ("constructor", "· intro h", "  omega", "· rfl")
    expected = "theorem a : p := by\n  constructor\n  · intro h\n    omega\n  · rfl\n"
    assert spliced("theorem a : p := by sorry\n", *lines) == expected


def test_line_ends_and_byte_order_mark_stay() -> None:
    text = "\ufeff-- α\r\ntheorem a : p := by sorry\r\n\r\ntheorem b : q := by\r\n  sorry\r\n"
    both = [replacement(text, MULTI, nth=1), replacement(text, MULTI)]
    assert splice(text, both) == (
        "\ufeff-- α\r\ntheorem a : p := by\r\n  intro h\r\n  omega\r\n\r\n"
        "theorem b : q := by\r\n  intro h\r\n  omega\r\n"
    )


def test_two_on_one_line_are_both_aligned_to_where_they_come_to_stand() -> None:
    text = "  exact ⟨by sorry, by sorry⟩\n"
    both = [replacement(text, ("simp",)), replacement(text, MULTI, nth=1)]
    indent = " " * len("  exact ⟨by simp, by ")
    assert splice(text, both) == f"  exact ⟨by simp, by intro h\n{indent}omega⟩\n"


@pytest.mark.parametrize("span", [(0, 5), (17, 22), (21, 25)])
def test_a_span_that_is_no_sorry_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no sorry"):
        splice("theorem a : p := by sorry\n", [Replacement(*span, ("simp",), True)])


def test_the_same_sorry_twice_is_refused() -> None:
    text = "theorem a : p := by sorry\n"
    with pytest.raises(ValueError, match="no sorry"):
        splice(text, [replacement(text, ("simp",)), replacement(text, ("rfl",))])


@pytest.mark.parametrize("lines", [(), ("",), ("simp", " ")])
def test_an_empty_proof_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least one line"):
        spliced("theorem a : p := by sorry\n", *lines)


FILLER = st.lists(st.sampled_from([*"abα𝔸 ·:=()⟨⟩|;,-\n", " := by ", "=> "]), max_size=20).map("".join)
PROOF = st.sampled_from([("@one",), ("@one", "@two", "  @three")])


@given(
    fillers=st.lists(FILLER, min_size=1, max_size=6),
    last=FILLER,
    crlf=st.booleans(),
    bom=st.booleans(),
    data=st.data(),
)
def test_nothing_but_the_proofs_changes(
    fillers: list[str], last: str, crlf: bool, bom: bool, data: st.DataObject
) -> None:
    pieces = ["\ufeff" * bom + f"{fillers[0]} ", *(f" {filler} " for filler in fillers[1:]), f" {last}"]
    pieces = [piece.replace("\n", "\r\n") if crlf else piece for piece in pieces]
    text = "sorry".join(pieces)
    wanted, pattern = [], ""
    for nth, piece in enumerate(pieces[:-1]):
        lines = data.draw(PROOF)
        wanted.append(replacement(text, lines, data.draw(st.booleans()), nth))
        proof = r"\(?(?:by)?\s*" + r"\s+".join(line.strip() for line in lines) + r"\)?"
        pattern += rf"(?:{re.escape(piece)}|{re.escape(piece.rstrip(' '))}(?=\r?\n)){proof}"
    result = splice(text, data.draw(st.permutations(wanted)))
    assert re.fullmatch(pattern + re.escape(pieces[-1]), result)
    assert not re.search(r"(?<!\r)\n" if "\r\n" in text else r"\r", result)
    assert splice(text, []) == text


# --- reading and writing ----------------------------------------------------------------------------


def test_reading_keeps_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "A.lean"
    data = "\ufeffα\r\nβ\nγ".encode()
    path.write_bytes(data)
    file = read_theorem_file(path)
    assert file.raw.encode() == data
    assert file.text == "α\nβ\nγ"
    assert file.with_proofs([]) == file


def test_what_cannot_be_read_is_the_inputs_fault(tmp_path: Path) -> None:
    latin = tmp_path / "latin.lean"
    latin.write_bytes(b"-- caf\xe9\n")
    with pytest.raises(InputError, match=r"latin.lean is not UTF-8 \(at byte 6\)"):
        read_theorem_file(latin)
    with pytest.raises(InputError, match="no such file"):
        read_theorem_file(tmp_path / "missing.lean")
    with pytest.raises(InputError, match="is a folder"):
        read_theorem_file(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_theorem_file(latin / "below.lean")


def test_writing_keeps_mode_and_link_and_leaves_nothing_behind(tmp_path: Path) -> None:
    real, link = tmp_path / "real.lean", tmp_path / "link.lean"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_atomically(link, b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.lean", "real.lean"]


def test_a_new_file_has_the_users_default_mode(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "new", b"x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "A.lean"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"A\.lean cannot be written: No space left on device"):
        write_atomically(path, b"new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("A.lean", "old")]


# --- imports ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("import A\nimport B.C\n\ntheorem x : p := by simp", ("A", "B.C")),
        ("import A import B", ("A", "B")),
        ("module\n\npublic import A\nmeta import B\npublic meta import all C\n", ("A", "B", "C")),
        ("prelude\nimport A", ("A",)),
        ("/- import X /- import Y -/ -/\n-- import Z\nimport A", ("A",)),
        ("/-! import X -/\nimport A", ()),
        ("import A\nopen B\nimport C", ("A",)),
        ("import «weird name».B₁", ("«weird name».B₁",)),
        ("importA", ()),
        ("import", ()),
        ("/- never closed\nimport A", ()),
        ("import A\r\nimport B\r\n", ("A", "B")),
    ],
)
def test_imports(text: str, expected: tuple[str, ...]) -> None:
    assert imports_of(text) == expected


def project(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_projects_own_modules_come_in_the_order_they_need_each_other(tmp_path: Path) -> None:
    project(
        tmp_path,
        {
            "lakefile.toml": "",
            "Lib/Main.lean": "import Lib.B\nimport Lib.A\nimport Init\nimport Mathlib",
            "Lib/A.lean": "import Lib.«c d»\n",
            "Lib/B.lean": "import Lib.A\nimport Lib.«c d»",
            "Lib/c d.lean": "-- last\r\n",
            "Init.lean": "-- a library's name is the library's",
        },
    )
    sources = project_sources(tmp_path / "Lib/Main.lean")
    assert [source.name for source in sources] == ["Lib.«c d»", "Lib.A", "Lib.B"]
    assert sources[0].text == "-- last\n"
    assert module_name(tmp_path / "Lib/c d.lean") == "Lib.«c d»"


def test_without_a_project_the_files_folder_is_the_root(tmp_path: Path) -> None:
    project(tmp_path, {"sub/Main.lean": "import A", "sub/A.lean": "", "A.lean": ""})
    (source,) = project_sources(tmp_path / "sub/Main.lean")
    assert source.path == str(tmp_path / "sub/A.lean")


def test_a_circle_is_the_inputs_fault(tmp_path: Path) -> None:
    project(tmp_path, {"A.lean": "import B", "B.lean": "import C", "C.lean": "import B"})
    with pytest.raises(InputError, match="circle: B → C → B"):
        project_sources(tmp_path / "A.lean")
    project(tmp_path, {"Self.lean": "import Self"})
    with pytest.raises(InputError, match="circle: Self → Self"):
        project_sources(tmp_path / "Self.lean")


@pytest.mark.parametrize("name", ["«..».secret", "«a/b»", "A.«.»"])
def test_a_module_name_cannot_leave_the_project(tmp_path: Path, name: str) -> None:
    project(tmp_path, {"A.lean": f"import {name}"})
    with pytest.raises(InputError, match="rename the module"):
        project_sources(tmp_path / "A.lean")


def test_the_statement_of_a_sorry() -> None:
    text = (
        "theorem one : 1 = 1 := rfl\n\n"
        "@[simp] private theorem ℕ.two (n : ℕ) :\n    n = n := by\n  sorry\n"
        "example : True := sorry\n"
    )
    file = TheoremFile(Path("a.lean"), text)
    first, second = (len(text[:place].encode()) for place in (text.index("sorry"), text.rindex("sorry")))
    assert file.statement_before(first) == "@[simp] private theorem ℕ.two (n : ℕ) :\n    n = n := by"
    assert file.statement_before(second) == "example : True :="
    assert TheoremFile(Path("a.lean"), "#check sorry").statement_before(7) == ""
