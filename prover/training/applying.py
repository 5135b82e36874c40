"""Library theorems as states to apply them at: the goal is what the theorem says, all introduced.

After PACT (Han et al. 2022, "Proof Artifact Co-training for Theorem Proving with Language Models"), whose
co-training tasks ask which lemma is next. No Lean has run these tactics, and none is told as a proof; but of
the declarations that a prompt shows, the theorem itself is the one to choose.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from prover.generators.base import Step
from prover.lean.messages import Declaration
from prover.premises import PremiseCorpus
from prover.training.declarations import introduced
from prover.training.examples import Proof
from prover.training.lessons import Lesson

_PREMISE = re.compile(r"^h\w* : ", re.MULTILINE)


def applications(corpus: PremiseCorpus, keep: Callable[[str], bool]) -> list[Lesson]:
    """Return a state for each theorem, in import order.

    Args:
        keep: whether a module may be learned from, see :func:`prover.training.declarations.exercises`.
    """
    return [
        _application(declaration, corpus.order.get(declaration.module, 0))
        for declaration in corpus.premises
        if declaration.kind == "theorem" and keep(declaration.module)
    ]


def _application(theorem: Declaration, position: int) -> Lesson:
    goal = introduced(theorem.type)
    tactic = f"apply {theorem.name}" + (" <;> assumption" if _PREMISE.search(goal) else "")
    # As what a synthetic theorem is made of, it may be seen in its own module.
    proof = Proof(
        theorem=theorem.name,
        module=theorem.module,
        statement=f"theorem synthetic : {theorem.type} := by sorry",
        position=position,
        steps=(Step((goal,), tactic),),
        source="synthetic",
        split="train",
    )
    return Lesson(proof, 0, (tactic,), ())
