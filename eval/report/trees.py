"""Search trees small enough for a page: pruned, compressed, and honest about what was left out.

A search tree can hold hundreds of states and thousands of failed tactics. The page's form of it is::

    {"nodes": [{"id": int, "parent": int | null, "status": str, "logprob": float, "score": float,
                "visit": int | null, "goals": [str, ...], "more_goals": int,
                "edges": [[tactic, logprob, kind, message, child], ...],
                "hidden": {kind: int, ...}}, ...],
     "all_nodes": int}

``parent`` and ``child`` are places in this list; ``id`` is the node's number in the whole tree. ``hidden``
counts the node's tactics that are not listed, by kind. Tactics that lead to a state which is not shown count
as hidden, too. ``all_nodes`` is how many states the whole tree has.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prover.search.tree import Kind, Status

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a tree is shown."""

    nodes: int
    #: Goals of a state, and characters of a goal.
    goals: int
    goal: int
    #: Failed tactics of a node, and characters of a tactic and of an error message.
    failed: int
    tactic: int
    message: int


#: From rich to poor.
LEVELS = (
    Limits(nodes=300, goals=8, goal=2000, failed=24, tactic=400, message=300),
    Limits(nodes=150, goals=4, goal=800, failed=8, tactic=300, message=160),
    Limits(nodes=60, goals=3, goal=500, failed=3, tactic=200, message=100),
    Limits(nodes=20, goals=2, goal=300, failed=0, tactic=150, message=0),
)


def prune(tree: Json, limits: Limits) -> dict[str, Any]:
    """Return the page's form of an exported search tree, within limits."""
    kept = _kept(tree["nodes"], limits.nodes)
    places = {node_id: place for place, node_id in enumerate(kept)}
    nodes = [_node(tree["nodes"][node_id], places, limits) for node_id in kept]
    return {"nodes": nodes, "all_nodes": len(tree["nodes"])}


def _kept(nodes: Sequence[Json], most: int) -> list[int]:
    """Choose nodes with all their ancestors: the proof first, then in the order of the search."""
    kept: set[int] = set()
    for node in sorted(nodes, key=_interest):
        line = list(_ancestry(nodes, node, kept))
        if len(kept) + len(line) <= most or not kept:
            kept.update(line)
    return sorted(kept)


def _interest(node: Json) -> tuple[bool, bool, float, int]:
    unvisited = node["visit"] is None
    rank = -node["score"] if unvisited else node["visit"]
    return node["status"] != Status.PROVED, unvisited, rank, node["id"]


def _ancestry(nodes: Sequence[Json], node: Json, known: set[int]) -> Iterator[int]:
    """The node and its ancestors, up to the first one that is known already."""
    here: Json | None = node
    while here is not None and here["id"] not in known:
        yield here["id"]
        here = None if here["parent"] is None else nodes[here["parent"]]


def _node(node: Json, places: Mapping[int, int], limits: Limits) -> dict[str, Any]:
    shown, hidden = _edges(node["edges"], places, limits.failed)
    goals = node["goals"]
    return {
        "id": node["id"],
        "parent": None if node["parent"] is None else places[node["parent"]],
        "status": node["status"],
        "logprob": round(node["logprob"], 3),
        "score": round(node["score"], 3),
        "visit": node["visit"],
        "goals": [_cut(goal, limits.goal) for goal in goals[: limits.goals]],
        "more_goals": max(0, len(goals) - limits.goals),
        "edges": [_edge(edge, places, limits) for edge in shown],
        "hidden": hidden,
    }


def _edges(edges: Sequence[Json], places: Mapping[int, int], most: int) -> tuple[list[Json], dict[str, int]]:
    """Return the edges to show, and how many of each kind are not among them."""
    shown, hidden, failed = [], Counter[str](), 0
    for edge in edges:
        good = edge["kind"] == Kind.FINISHED or (edge["kind"] == Kind.STATE and edge["child"] in places)
        failed += edge["kind"] not in (Kind.FINISHED, Kind.STATE)
        if good or (edge["kind"] != Kind.STATE and failed <= most):
            shown.append(edge)
        else:
            hidden[edge["kind"]] += 1
    return shown, dict(hidden)


def _edge(edge: Json, places: Mapping[int, int], limits: Limits) -> list[Any]:
    tactic, message = _cut(edge["tactic"], limits.tactic), _cut(edge["message"], limits.message)
    child = None if edge["child"] is None else places[edge["child"]]
    return [tactic, round(edge["logprob"], 3), edge["kind"], message, child]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most} more characters)"


def pack(body: Json) -> str:
    """Return JSON, compressed by gzip, as base64: the same text for the same body."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode("ascii")


def choose(sizes: Sequence[Sequence[int]], budget: int) -> list[int]:
    """Choose a level for each tree so that all of them fit into the budget, if they can.

    ``sizes`` has for each tree its size at each level, rich ones first. Every tree takes the richest level
    that is not above a ceiling; the ceiling is the highest one at which all of them fit. So small trees are
    shown whole, and the large ones share what is left.
    """
    ceilings = sorted({size for levels in sizes for size in levels}, reverse=True)
    low, high = 0, len(ceilings)
    while low < high:
        middle = (low + high) // 2
        chosen = _under(sizes, ceilings[middle])
        if sum(levels[level] for levels, level in zip(sizes, chosen, strict=True)) <= budget:
            high = middle
        else:
            low = middle + 1
    return _under(sizes, ceilings[low] if low < len(ceilings) else 0)


def _under(sizes: Sequence[Sequence[int]], ceiling: int) -> list[int]:
    """For each tree the first level within the ceiling, else its last."""
    return [
        next((level for level, size in enumerate(levels) if size <= ceiling), len(levels) - 1)
        for levels in sizes
    ]
