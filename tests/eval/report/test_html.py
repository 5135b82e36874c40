"""The page as a file: what is in it, what is not, and that nothing from a run can break out of its place."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from eval.cli.main import main
from eval.records import Status
from eval.report import html
from eval.runs import load_runs
from prover.search.tree import Kind, SearchTree
from tests.eval.report.synthetic import attempt, benchmark_run, write_run

EVIL = """</script></pre><script>hacked = 1</script><img src=x onerror="hacked = 2">&amp;'"{{ 7 * 7 }}"""


class Page(HTMLParser):
    """The elements of a page, and the text in each ``script`` and in all of the body."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: dict[str, str] = {}
        self.text = ""
        self._script = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._script = (dict(attrs).get("id") or "main") if tag == "script" else ""

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        else:
            self.text += data

    def details(self) -> list[list[Any]]:
        packed = json.loads(self.scripts["packed"])
        return [[unpack(text) if text else None for text in row] for row in packed]


def unpack(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def evil_run(folder: Path) -> Path:
    """A run in which every text is an attempt to break out of the page."""
    tree = SearchTree((EVIL,), statement=EVIL)
    tree.root.visit, tree.root.expanded = 0, True
    tree.note(tree.root, EVIL, -1.0, Kind.ERROR, EVIL, 0.1)
    tree.note(tree.root, EVIL, -1.0, Kind.FINISHED, "", 0.1)
    texts = {"message": EVIL, "machine": EVIL, "commit": EVIL, "ended": EVIL, "error_kind": EVIL}
    records = [
        attempt(EVIL, Status.PROVED, tags=(f"category:{EVIL}",), proof=(EVIL,), **texts),
        attempt("t", Status.NOT_PROVED, tags=("category:good",), position=1),
    ]
    plan = {"benchmark": EVIL, "generator": EVIL, "lean": EVIL}
    return write_run(folder, records, {(EVIL, 0): tree}, **plan)


def page(*folders: Path) -> Page:
    return Page(html.render(load_runs(folders)))


def test_nothing_from_a_run_breaks_out_of_its_place(tmp_path: Path) -> None:
    found = page(evil_run(tmp_path / "run"))
    assert found.tags.count("script") == 3 and "img" not in found.tags
    assert json.loads(found.scripts["data"])["problems"] == [EVIL, "t"]
    assert found.text.count(EVIL) >= 8, "shown as it is"
    assert "49" not in found.text
    [[detail], [other]] = found.details()
    assert (detail["statement"], detail["tree"]["nodes"][0]["edges"][0][3]) == (EVIL, EVIL)
    assert (other["statement"], other["tree"]) == ("", None)


def test_the_page_asks_for_nothing(tmp_path: Path) -> None:
    text = html.render(load_runs([evil_run(tmp_path / "run")]))
    assert "default-src 'none'" in text
    known = {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"(?:https?:)//[^\s\"']+", text)) == known, "only the name of the SVG namespace"
    assert not re.search(r"<link[^>]+href=\"(?!data:)|@import|url\(", text)


def test_the_page_of_a_large_benchmark_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "TREES_BUDGET", 200_000)
    folder = benchmark_run(tmp_path / "run", 60, seed=1)
    text = html.render(load_runs([folder]))
    assert (folder / "trees.jsonl").stat().st_size > 3_000_000
    assert len(text) < 200_000 + 150_000
    assert all(detail is not None for [detail] in Page(text).details())


def test_every_proof_is_there_with_its_statement(tmp_path: Path) -> None:
    tree = SearchTree(("⊢ 1 = 1",), statement="theorem one : 1 = 1 := by\n  sorry")
    other = SearchTree(("n : Nat\n⊢ n = n",))
    records = [
        attempt("one", Status.PROVED, proof=("decide",)),
        attempt("two", Status.PROVED, proof=("intro x", "rfl"), position=1),
    ]
    text = page(write_run(tmp_path / "run", records, {("one", 0): tree, ("two", 0): other})).text
    assert "theorem one : 1 = 1 := by\n  decide" in text
    assert "-- two\n-- n : Nat\n-- ⊢ n = n\n  intro x\n  rfl" in text


@pytest.mark.parametrize(
    ("statement", "head"),
    [
        ("theorem t : p := by sorry", "theorem t : p := by"),
        ("theorem t : p := sorry\n", "theorem t : p := by"),
        ("theorem t : p", "theorem t : p := by"),
        ("@[simp] private theorem t : p :=\n  by sorry", "@[simp] private theorem t : p := by"),
        ("open Nat in\nexample : p := by\n  sorry", "open Nat in\nexample : p := by"),
        ("", "-- t"),
    ],
)
def test_a_proof_stands_where_the_sorry_stood(statement: str, head: str) -> None:
    assert html.as_lean(statement, "t", ("simp", "rfl")) == f"{head}\n  simp\n  rfl"


def test_several_runs_and_benchmarks_on_one_page(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [attempt("t", Status.PROVED), attempt("u")])
    two = write_run(tmp_path / "two", [attempt("t"), attempt("u", Status.PROVED)])
    other = write_run(tmp_path / "other", [attempt("t", Status.PROVED)], benchmark="library")
    found = page(one, two, other)
    assert json.loads(found.scripts["data"])["problems"] == ["t", "u", "t"]
    assert [[bool(d) for d in row] for row in found.details()] == [
        [True, True, False], [True, True, False], [False, False, True],
    ]  # fmt: skip
    assert "Against one" in found.text and "1 gained by two" in found.text
    assert "gained by other" not in found.text


def test_the_same_runs_make_the_same_page(tmp_path: Path) -> None:
    runs = load_runs([benchmark_run(tmp_path / "run", 8, seed=1, seeds=(0, 1))])
    assert html.render(runs) == html.render(runs)


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    folder, out = write_run(tmp_path / "run", [attempt("t")]), tmp_path / "page.html"
    result = CliRunner().invoke(main, ["report", str(folder), "--out", str(out)])
    assert (result.exit_code, out.read_text().startswith("<!doctype html>")) == (0, True), result.output


def test_a_bad_folder_ends_with_code_2_and_a_message(tmp_path: Path) -> None:
    empty, good = write_run(tmp_path / "empty", []), write_run(tmp_path / "good", [attempt("t")])
    for arguments, text in (
        ([str(tmp_path)], "is not the folder of a run"),
        ([str(empty)], "has no records yet"),
        ([str(good), "--out", str(tmp_path / "no" / "x")], "cannot be written"),
    ):
        result = CliRunner().invoke(main, ["report", *arguments])
        assert (result.exit_code, text in result.stderr) == (2, True), result.stderr
