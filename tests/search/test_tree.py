"""The search tree: its statuses, its invariants, its exported form."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.search.tree import Edge, Kind, SearchTree, Status


def small_tree() -> SearchTree:
    """p -a-> q (failed), p -b-> r; r finishes with c; p -d-> s is open."""
    tree = SearchTree(("p",), statement="theorem t : p", length_exponent=0.5)
    tree.root.visit = 0
    q, _ = tree.reach(tree.root, "a", -1.0, ("q",), 0.1)
    r, _ = tree.reach(tree.root, "b", -2.0, ("r", "q"), 0.1)
    tree.reach(tree.root, "d", -3.0, ("s",), 0.1)
    tree.root.expanded = q.expanded = True
    q.visit, r.visit = 1, 2
    tree.note(q, "bad", -0.5, Kind.ERROR, "it failed", 0.2)
    tree.note(r, "c", -0.5, Kind.FINISHED, "", 0.3)
    return tree


def test_scores_and_paths() -> None:
    tree = small_tree()
    r = tree.nodes[2]
    deeper, new = tree.reach(r, "e", -2.0, ("t",), 0.0)
    assert new
    assert (deeper.depth, deeper.logprob) == (2, -4.0)
    assert deeper.score == pytest.approx(-4.0 / 2**0.5)
    assert tree.path(deeper) == [(("p",), "b"), (("r", "q"), "e")]
    assert tree.proof() == ("b", "c")
    tree.check_invariants()


def test_statuses() -> None:
    assert small_tree().statuses() == [Status.PROVED, Status.FAILED, Status.PROVED, Status.OPEN]


def test_a_node_whose_states_all_failed_has_failed_even_on_a_cycle() -> None:
    tree = SearchTree(("p",))
    q, _ = tree.reach(tree.root, "a", -1.0, ("q",), 0.0)
    tree.reach(q, "back", -1.0, ("p",), 0.0)
    tree.root.visit, tree.root.expanded = 0, True
    assert tree.statuses() == [Status.EXPANDED, Status.OPEN]
    q.visit, q.expanded = 1, True
    assert tree.statuses() == [Status.FAILED, Status.FAILED]


def test_state_without_goals_is_refused() -> None:
    tree = SearchTree(("p",))
    with pytest.raises(ValueError, match="without goals"):
        tree.reach(tree.root, "a", -1.0, (), 0.0)


def test_exported_form() -> None:
    body = small_tree().to_json()
    assert body["format"] == "prover-search-tree"
    assert body["version"] == 1
    assert body["nodes"][1] == {
        "id": 1,
        "parent": 0,
        "goals": ["q"],
        "depth": 1,
        "logprob": -1.0,
        "score": -1.0,
        "status": "failed",
        "visit": 1,
        "edges": [
            {
                "tactic": "bad",
                "logprob": -0.5,
                "kind": "error",
                "message": "it failed",
                "seconds": 0.2,
                "child": None,
            }
        ],
    }


def grow(seed: int) -> SearchTree:
    """A random tree as a search would grow it."""
    rng = random.Random(seed)
    tree = SearchTree(("0",), statement="∀ x, …", length_exponent=rng.random())
    for visit in range(rng.randrange(8)):
        waiting = [node for node in tree.nodes if node.visit is None]
        if not waiting:
            break
        node = rng.choice(waiting)
        node.visit = visit
        for index in range(rng.randrange(4)):
            goals = (str(rng.randrange(12)),) * rng.randrange(1, 3)
            if rng.random() < 0.7:
                tree.reach(node, f"t{index}", -rng.random(), goals, rng.random())
            else:
                kind = rng.choice([Kind.ERROR, Kind.CRASH, Kind.FINISHED])
                tree.note(node, f"t{index}", -rng.random(), kind, "…", rng.random())
        node.expanded = rng.random() < 0.8
    return tree


@given(st.integers())
def test_invariants_hold_and_export_comes_back(seed: int) -> None:
    tree = grow(seed)
    tree.check_invariants()
    body = json.loads(json.dumps(tree.to_json()))
    again = SearchTree.from_json(body)
    again.check_invariants()
    assert again.to_json() == body
    assert again.proof() == tree.proof()


@pytest.mark.parametrize(
    "body",
    [{}, {"format": "prover-search-tree", "version": 2}, {"format": "prover-search-tree", "version": 1}],
)
def test_what_is_no_tree_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="search tree"):
        SearchTree.from_json(body)


def test_invariants_notice_damage() -> None:
    def damaged(how: str) -> SearchTree:
        tree = small_tree()
        match how:
            case "depth":
                tree.nodes[2].depth = 5
            case "score":
                tree.nodes[2].score = -9.0
            case "twin":
                tree.nodes[1].goals = ("s",)
            case "lost child":
                tree.root.edges.append(Edge("x", -1.0, Kind.STATE, "", 0.0, 99))
            case "childless":
                tree.root.edges.append(Edge("x", -1.0, Kind.STATE, "", 0.0, None))
            case "turn":
                tree.nodes[2].visit = 7
            case "unvisited":
                tree.note(tree.nodes[3], "x", -1.0, Kind.ERROR, "", 0.0)
        return tree

    for how in ("depth", "score", "twin", "lost child", "childless", "turn", "unvisited"):
        with pytest.raises(AssertionError):
            damaged(how).check_invariants()
