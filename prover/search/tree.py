"""The search tree: what was tried where, and what came of it.

Nodes are proof states, told apart by their text; a state that is reached again is not a new node,
so the edges form a graph, while each node's ``parent`` (the first that reached it) forms the tree.

The exported form (:meth:`SearchTree.to_json`) is stable and versioned::

    {"format": "prover-search-tree", "version": 1, "statement": str, "length_exponent": float,
     "nodes": [{"id": int, "parent": int | null, "goals": [str, ...], "depth": int,
                "logprob": float, "score": float, "status": Status, "visit": int | null,
                "edges": [{"tactic": str, "logprob": float, "kind": Kind, "message": str,
                           "seconds": float, "child": int | null}, ...]}, ...]}

``nodes`` is indexed by ``id`` and 0 is the root; ``logprob`` is the cumulative log-probability, ``score``
the priority, ``visit`` the turn at which the node was expanded, ``seconds`` the time inside Lean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

FORMAT = "prover-search-tree"
VERSION = 1
#: What a state's sum of log-probabilities is divided by: its depth to this power (0.5 as in BFS-Prover).
LENGTH_EXPONENT = 0.5

Goals = tuple[str, ...]


class Status(StrEnum):
    """What is known of a node."""

    #: Not expanded yet, or its expansion did not end.
    OPEN = "open"
    #: Expanded, and a state below it is still open.
    EXPANDED = "expanded"
    #: A proof goes through it.
    PROVED = "proved"
    #: Expanded, and nothing below it is open or proved.
    FAILED = "failed"


class Kind(StrEnum):
    """What became of a tactic."""

    STATE = "state"
    FINISHED = "finished"
    ERROR = "error"
    CRASH = "crash"
    #: Never run: see ``generators.base.admissible``.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Edge:
    """One tactic tried at a node; ``child`` is the node it leads to (an older one if it is a duplicate)."""

    tactic: str
    logprob: float
    kind: Kind
    message: str
    seconds: float
    child: int | None


@dataclass(slots=True)
class Node:
    """A proof state: its goals as Lean prints them, and its place in the search."""

    id: int
    parent: int | None
    goals: Goals
    depth: int
    logprob: float
    score: float
    visit: int | None = None
    expanded: bool = False
    edges: list[Edge] = field(default_factory=list)

    @property
    def tried(self) -> frozenset[str]:
        """The tactics that were tried here."""
        return frozenset(edge.tactic for edge in self.edges)


class SearchTree:
    """A growing tree of states; the root is node 0."""

    def __init__(self, goals: Goals, *, statement: str = "", length_exponent: float = 0.0) -> None:
        self.statement = statement
        self.length_exponent = length_exponent
        self.nodes: list[Node] = [Node(0, None, goals, depth=0, logprob=0.0, score=0.0)]
        self._by_goals: dict[Goals, int] = {goals: 0}

    @property
    def root(self) -> Node:
        return self.nodes[0]

    def reach(
        self, parent: Node, tactic: str, logprob: float, goals: Goals, seconds: float
    ) -> tuple[Node, bool]:
        """Record that a tactic leads to these goals; return their node and whether it is new.

        Raises:
            ValueError: there are no goals (a proof without goals is finished, not a state).
        """
        if not goals:
            raise ValueError(f"the tactic {tactic!r} led to a state without goals")
        known = self._by_goals.get(goals)
        child = self.nodes[known] if known is not None else self._grow(parent, logprob, goals)
        parent.edges.append(Edge(tactic, logprob, Kind.STATE, "", seconds, child.id))
        return child, known is None

    def note(self, node: Node, tactic: str, logprob: float, kind: Kind, message: str, seconds: float) -> None:
        """Record a tactic that leads to no state."""
        node.edges.append(Edge(tactic, logprob, kind, message, seconds, None))

    def _grow(self, parent: Node, logprob: float, goals: Goals) -> Node:
        score = self.score(parent, logprob)
        node = Node(len(self.nodes), parent.id, goals, parent.depth + 1, parent.logprob + logprob, score)
        self.nodes.append(node)
        self._by_goals[goals] = node.id
        return node

    def score(self, parent: Node, logprob: float) -> float:
        """The priority of a child by a tactic of this log-probability."""
        total = parent.logprob + logprob
        return total / math.pow(parent.depth + 1, self.length_exponent)

    def path(self, node: Node) -> list[tuple[Goals, str]]:
        """Return the goals and tactics that lead from the root to the node."""
        steps: list[tuple[Goals, str]] = []
        while node.parent is not None:
            parent = self.nodes[node.parent]
            steps.append((parent.goals, self._first_edge(parent, node.id).tactic))
            node = parent
        return steps[::-1]

    @staticmethod
    def _first_edge(parent: Node, child: int) -> Edge:
        return next(edge for edge in parent.edges if edge.child == child)

    def proof(self) -> tuple[str, ...] | None:
        """Return the tactics of the proof that was found first, or None."""
        for node in sorted(self.nodes, key=lambda n: math.inf if n.visit is None else n.visit):
            for edge in node.edges:
                if edge.kind is Kind.FINISHED:
                    return (*(tactic for _, tactic in self.path(node)), edge.tactic)
        return None

    def statuses(self) -> list[Status]:
        """Return the status of each node, by id."""
        proved = self._upstream(n.id for n in self.nodes if any(e.kind is Kind.FINISHED for e in n.edges))
        hopeful = self._upstream(n.id for n in self.nodes if not n.expanded)
        return [self._status(node, proved, hopeful) for node in self.nodes]

    @staticmethod
    def _status(node: Node, proved: set[int], hopeful: set[int]) -> Status:
        if node.id in proved:
            return Status.PROVED
        if not node.expanded:
            return Status.OPEN
        return Status.EXPANDED if node.id in hopeful else Status.FAILED

    def _upstream(self, seeds: Iterator[int]) -> set[int]:
        """Return the seeds and every node from which one of them can be reached."""
        parents: dict[int, list[int]] = {}
        for node in self.nodes:
            for edge in node.edges:
                if edge.child is not None:
                    parents.setdefault(edge.child, []).append(node.id)
        reached: set[int] = set()
        waiting = list(seeds)
        while waiting:
            node_id = waiting.pop()
            if node_id not in reached:
                reached.add(node_id)
                waiting.extend(parents.get(node_id, ()))
        return reached

    def check_invariants(self) -> None:
        """Check what must hold at any moment of a search.

        Raises:
            AssertionError: something does not hold; the text names the node.
        """
        assert self._by_goals == {node.goals: node.id for node in self.nodes}, "duplicate or lost states"
        for index, node in enumerate(self.nodes):
            assert node.id == index, f"node {node.id} stands at {index}"
            assert node.goals, f"node {index} has no goals"
            self._check_place(node)
            self._check_edges(node)
        visits = [node.visit for node in self.nodes if node.visit is not None]
        assert sorted(visits) == list(range(len(visits))), "turns are not numbered 0, 1, 2, ..."

    def _check_place(self, node: Node) -> None:
        assert math.isfinite(node.score) and node.score <= 0.0, f"node {node.id} scores {node.score}"
        if node.parent is None:
            assert (node.id, node.depth, node.logprob) == (0, 0, 0.0), f"node {node.id} has no parent"
            return
        parent = self.nodes[node.parent]
        edge = self._first_edge(parent, node.id)
        assert parent.id < node.id, f"node {node.id} is older than its parent"
        assert node.depth == parent.depth + 1, f"node {node.id} is at depth {node.depth}"
        assert node.logprob == parent.logprob + edge.logprob, f"node {node.id} has a wrong sum"
        assert node.score == node.logprob / node.depth**self.length_exponent, f"node {node.id}: wrong score"

    def _check_edges(self, node: Node) -> None:
        assert node.visit is not None or not (node.edges or node.expanded), f"node {node.id} grew unvisited"
        for edge in node.edges:
            leads = edge.child is not None
            assert leads == (edge.kind is Kind.STATE), f"node {node.id}: {edge.kind} edge, child {edge.child}"
            assert edge.child is None or 0 <= edge.child < len(self.nodes), f"node {node.id}: lost child"
            assert edge.kind is Kind.REFUSED or edge.logprob <= 0.0, f"node {node.id}: edge {edge.logprob}"

    def to_json(self) -> dict[str, Any]:
        """Return the tree in the form that the module's head describes."""
        statuses = self.statuses()
        return {
            "format": FORMAT,
            "version": VERSION,
            "statement": self.statement,
            "length_exponent": self.length_exponent,
            "nodes": [_node_to_json(node, statuses[node.id]) for node in self.nodes],
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> SearchTree:
        """Read an exported tree.

        Raises:
            ValueError: it is not one, or of another version.
        """
        found = body.get("format"), body.get("version")
        if found != (FORMAT, VERSION):
            raise ValueError(f"not a search tree of version {VERSION}: {found[0]} {found[1]}")
        try:
            nodes = [_node_from_json(node) for node in body["nodes"]]
            tree = cls(nodes[0].goals, statement=body["statement"], length_exponent=body["length_exponent"])
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"a damaged search tree: {error!r}") from error
        tree.nodes = nodes
        tree._by_goals = {node.goals: node.id for node in nodes}
        return tree


def _node_to_json(node: Node, status: Status) -> dict[str, Any]:
    edges = [asdict(edge) | {"kind": edge.kind.value} for edge in node.edges]
    return {
        "id": node.id,
        "parent": node.parent,
        "goals": list(node.goals),
        "depth": node.depth,
        "logprob": node.logprob,
        "score": node.score,
        "status": status.value,
        "visit": node.visit,
        "edges": edges,
    }


def _node_from_json(body: Mapping[str, Any]) -> Node:
    return Node(
        id=body["id"],
        parent=body["parent"],
        goals=tuple(body["goals"]),
        depth=body["depth"],
        logprob=body["logprob"],
        score=body["score"],
        visit=body["visit"],
        expanded=body["status"] != Status.OPEN,
        edges=[Edge(**edge | {"kind": Kind(edge["kind"])}) for edge in body["edges"]],
    )
