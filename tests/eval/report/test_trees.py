"""Pruned trees: within limits, whole where it matters, and nothing hidden without a count."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.report.trees import LEVELS, Limits, choose, pack, prune
from prover.search.tree import SearchTree
from tests.eval.report.synthetic import grow

trees = st.builds(
    grow, st.integers(0, 50), expansions=st.integers(1, 12), width=st.just(20), proved=st.booleans()
)
limits = st.builds(
    Limits, nodes=st.integers(1, 30), goals=st.just(1), goal=st.just(40), failed=st.integers(0, 5),
    tactic=st.just(20), message=st.just(30),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(trees, limits)
def test_a_pruned_tree_is_a_tree_and_loses_nothing_silently(tree: SearchTree, limit: Limits) -> None:
    whole = tree.to_json()["nodes"]
    page = prune(tree.to_json(), limit)
    assert page["all_nodes"] == len(whole)
    assert len(page["nodes"]) <= max(limit.nodes, 1 + max(node.depth for node in tree.nodes))
    for place, node in enumerate(page["nodes"]):
        original = whole[node["id"]]
        assert node["parent"] is None if place == 0 else node["parent"] < place
        if place:
            assert page["nodes"][node["parent"]]["id"] == original["parent"]
        assert len(node["goals"]) + node["more_goals"] == len(original["goals"])
        shown = Counter(edge[2] for edge in node["edges"])
        assert shown + Counter(node["hidden"]) == Counter(edge["kind"] for edge in original["edges"])
        assert shown["error"] <= limit.failed


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 50))
def test_the_proof_is_kept_before_all_else(seed: int) -> None:
    tree = grow(seed, expansions=15, width=30)
    nodes = prune(tree.to_json(), LEVELS[-1])["nodes"]
    assert any(edge[2] == "finished" for node in nodes for edge in node["edges"])


def test_long_texts_are_cut_and_say_so() -> None:
    tree = SearchTree(("⊢ " + "x" * 5000,))
    [goal] = prune(tree.to_json(), LEVELS[0])["nodes"][0]["goals"]
    assert goal.endswith(f"x … ({5002 - LEVELS[0].goal} more characters)")


def test_packing_is_reversible_and_repeatable() -> None:
    body = {"goal": "∀ n : ℕ, n ≤ n", "more": [1, None]}
    assert json.loads(gzip.decompress(base64.b64decode(pack(body)))) == body
    assert pack(body) == pack(body)


@given(
    st.lists(st.lists(st.integers(1, 100), min_size=1, max_size=4).map(lambda s: sorted(s, reverse=True))),
    st.integers(0, 2000),
)
def test_levels_fit_the_budget_when_they_can(sizes: list[list[int]], budget: int) -> None:
    chosen = choose(sizes, budget)
    least = sum(levels[-1] for levels in sizes)
    assert sum(levels[i] for levels, i in zip(sizes, chosen, strict=True)) <= max(budget, least)
    if sum(levels[0] for levels in sizes) <= budget:
        assert chosen == [0] * len(sizes)


def test_small_trees_are_whole_and_large_ones_give_way() -> None:
    assert choose([[10, 5], [900, 100, 50]], 120) == [0, 1]


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_makes_a_large_tree_smaller(level: Limits) -> None:
    tree = grow(1, expansions=100, width=60).to_json()
    size = len(pack(prune(tree, level)))
    richer = LEVELS[: LEVELS.index(level)]
    assert all(size < len(pack(prune(tree, other))) for other in richer)
