"""Prompt templates of open models: the built-in ones, those of the user, and what can be wrong with these."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.decoder.completion import Decoding, Sampling
from prover.decoder.prompts import PromptForm, Situation
from prover.decoder.templates import Template, load_templates, template_for
from prover.errors import InputError
from prover.generators.base import Step

LARGE = 1_000_000
SITUATION = Situation(
    "theorem foo (s : Set α) : s = {x ∈ s}",
    (Step(("⊢ p",), "intro x"), Step(("⊢ q",), "ext y")),
    ("s : Set α\n⊢ s = {x ∈ s}", "⊢ {state} = {{}}"),
    ("near : {x} = s", "far : {} = ∅"),
)


def words(text: str) -> int:
    return len(text.split())


@pytest.fixture(autouse=True)
def no_user_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEAN_PROVER_TEMPLATES", raising=False)


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, to be written."""
    path = tmp_path / "templates.toml"
    monkeypatch.setenv("LEAN_PROVER_TEMPLATES", str(path))
    return path


def template(prompt: str, **values: str) -> Template:
    return Template("t", PromptForm.CONTEXT, prompt, (), Sampling(stop=("<end>",)), **values)


# --- the built-in ones ----------------------------------------------------------------------------

STATE = "s : Set α\n⊢ s = {x ∈ s}\n\n⊢ {state} = {{}}"
PROMPTS = {
    "ByteDance-Seed/BFS-Prover-V1-7B": f"{STATE}:::",
    "ByteDance-Seed/BFS-Prover-V2-7B": f"{STATE}:::",
    "ByteDance-Seed/BFS-Prover-V2-32B": f"{STATE}:::",
    "wellecks/llmstep-mathlib4-pythia2.8b": f"[GOAL]{STATE}[PROOFSTEP]",
    "internlm/internlm2-step-prover": (
        f"<|im_start|>user\nDECL foo\nGOAL {STATE}\n<|im_end|>\n<|im_start|>assistant\n"
    ),
    "internlm/internlm2_5-step-prover": (
        "<|im_start|>user\n---\nNAME: foo\n\n---\nPROOF_BEFORE: intro x\next y\n\n"
        f"---\nSTATE_BEFORE: {STATE}\n\n---\nTACTIC: <|im_end|>\n<|im_start|>assistant\n"
    ),
}


@pytest.mark.parametrize("model", PROMPTS)
def test_the_prompt_of_a_model(model: str) -> None:
    assert template_for(model).render(SITUATION, LARGE, words) == PROMPTS[model]


def test_the_built_in_templates() -> None:
    assert {name: found.form for name, found in load_templates().items()} == {
        "bfs-prover": PromptForm.GOAL,
        "bfs-prover-v1": PromptForm.GOAL,
        "internlm2_5-step-prover": PromptForm.HISTORY,
        "internlm2-step-prover": PromptForm.GOAL,
        "llmstep": PromptForm.GOAL,
        "instruct": PromptForm.CONTEXT,
        "instruct-whole": PromptForm.WHOLE,
    }


def test_sampling_as_published() -> None:
    assert template_for("bfs-prover").sampling == Sampling(
        n=4, temperature=1.3, max_tokens=2048, per_token=True
    )
    assert template_for("internlm2_5-step-prover").sampling == Sampling(
        n=32, decoding=Decoding.BEAM, max_tokens=256, stop=("<|im_end|>",)
    )


@pytest.mark.parametrize("name", ["instruct", "instruct-whole"])
def test_an_instruction_tells_all_there_is(name: str) -> None:
    prompt = template_for(name).render(SITUATION, LARGE, words)
    assert SITUATION.statement in prompt and STATE in prompt and "\nintro x\next y\n" in prompt
    assert prompt.endswith("```lean\n") and "\nfar : {} = ∅\nnear : {x} = s\n" in prompt


# --- prompts --------------------------------------------------------------------------------------


@given(*[st.text("{}[]%$state name!:\n", max_size=20)] * 4)
def test_braces_in_what_is_told_stay(statement: str, tactic: str, goal: str, declaration: str) -> None:
    prompt = "{{{statement}|{proof_before}|{state}|{declarations}}}"
    situation = Situation(statement, (Step((goal,), tactic),), (goal,), (declaration,))
    rendered = template(prompt).render(situation, LARGE, words)
    assert rendered == f"{{{statement}|{tactic}|{goal}|{declaration}}}"


@given(st.integers(4, 40))
def test_a_prompt_fits_and_is_cut_in_order(budget: int) -> None:
    found = template("{declarations} | {statement} | {proof_before} | {state}")
    declarations, statement, proof, state = found.render(SITUATION, budget, words).split(" | ")
    assert words(" | ".join((declarations, statement, proof, state))) <= budget
    assert proof in ("intro x\next y", "ext y", "")
    if declarations != "far : {} = ∅\nnear : {x} = s":
        assert proof == "" and declarations in ("near : {x} = s", "")
    if statement != SITUATION.statement:
        assert declarations == "" and SITUATION.statement.startswith(statement)
    if state != STATE:
        assert statement == ""


def test_what_is_not_told_is_not_cut() -> None:
    """Only what a template tells counts; the name stays when the statement goes."""
    assert template("{name}|{state}").render(SITUATION, 10, words) == "foo|s : Set α\n⊢ s = {x ∈ s}"


def test_a_template_that_does_not_fit() -> None:
    with pytest.raises(InputError, match="template t alone takes more than the 2 tokens"):
        template("one two three {state}").render(SITUATION, 2, words)


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("completion", "tactic"),
    [
        ("simp", "simp"),
        ("  simp\n", "simp"),
        ("· simp", "simp"),
        ("simp<end>", "simp"),
        ("simp<end> and more<end>", "simp"),
        ("TAC simp", "simp"),
        (" TAC simp OK", "simp"),
        ("simp OK", "simp"),
        ("TACTIC", "TACTIC"),
        ("`simp`", "simp"),
        ("`simp` and `ring`", "`simp` and `ring`"),
        ("```lean\nsimp\n```", "simp"),
        ("I would simplify:\n```lean\nsimp\n```\nThat is all.", "simp"),
        ("have h : p := by\n  simp\n  ring\nexact h", "have h : p := by\n  simp\n  ring"),
        ("simp -- easy", "simp"),
        ("", ""),
        ("<end>", ""),
    ],
)
def test_the_tactic_of_an_answer(completion: str, tactic: str) -> None:
    assert template("{state}", prefix="TAC ", postfix=" OK").tactic_of(completion) == tactic


def test_the_tactics_of_a_whole_answer() -> None:
    found = template_for("instruct-whole")
    assert found.tactics_of("constructor\n· simp\n· ring\n```\nDone.") == ("constructor", "simp", "ring")


def test_the_prefix_of_internlm2() -> None:
    assert template_for("internlm2-step-prover").tactic_of("PROOFSTEP induction n<|im_end|>") == "induction n"


# --- the user's file ------------------------------------------------------------------------------


def test_the_users_entries_add_and_go_first(users: Path) -> None:
    users.write_text(
        """
        [mine]
        models = ["internlm/internlm2-step-prover", "me/mine"]
        form = "history"
        prompt = '{{ {statement} }} {state} =>'
        stop = ["\\n\\n"]
        prefix = "A"
        postfix = "B"
        sampling = { n = 3, temperature = 1, decoding = "beam" }
        encoder_decoder = false

        [llmstep]
        form = "goal"
        prompt = "{state}?"
        """
    )
    mine = template_for("mine")
    sampling = Sampling(n=3, temperature=1, decoding=Decoding.BEAM, stop=("\n\n",))
    models = ("internlm/internlm2-step-prover", "me/mine")
    prompt = "{{ {statement} }} {state} =>"
    assert mine == Template("mine", PromptForm.HISTORY, prompt, models, sampling, "A", "B")
    assert template_for("me/mine") == template_for("internlm/internlm2-step-prover") == mine
    assert template_for("llmstep").render(SITUATION, LARGE, words) == f"{STATE}?"
    assert template_for("bfs-prover").name == "bfs-prover"


GOOD = 'form = "goal"\nprompt = "{state}"\n'
FAULTS = {
    "no TOML": ("[mine\n", "are no TOML.*line 1"),
    "a value": ('mine = "goal"\n', "template mine: it is a value on its own"),
    "an unknown key": (
        f"[mine]\n{GOOD}stops = []\n",
        "template mine: the key stops is unknown; known are form",
    ),
    "no form": ('[mine]\nprompt = "{state}"\n', "the key form is missing"),
    "no prompt": ('[mine]\nform = "goal"\n', "the key prompt is missing"),
    "an unknown form": (
        '[mine]\nform = "goals"\nprompt = ""\n',
        "the form 'goals' is unknown; known are goal, history, context, whole",
    ),
    "an unknown field": (
        '[mine]\nform = "whole"\nprompt = "{goal}"\n',
        "has the field {goal}; .* {declarations}",
    ),
    "a field of another form": (
        '[mine]\nform = "goal"\nprompt = "{statement}"\n',
        "has the field {statement}",
    ),
    "a field with more": ('[mine]\nform = "goal"\nprompt = "{state!r}"\n', "braces are at fault"),
    "a field without a name": ('[mine]\nform = "goal"\nprompt = "{}"\n', "braces are at fault"),
    "a brace alone": ('[mine]\nform = "goal"\nprompt = "{state"\n', r"braces are at fault.* \{\{ or \}\}"),
    "a number for a text": ('[mine]\nform = "goal"\nprompt = 3\n', "prompt is 3, which is no text"),
    "a list of numbers": (f"[mine]\n{GOOD}models = [3]\n", "models is a list of texts"),
    "an empty stop": (f'[mine]\n{GOOD}stop = [""]\n', "stop is a list of texts, none of them empty"),
    "an encoder-decoder": (
        f"[mine]\n{GOOD}encoder_decoder = true\n",
        "encoder-decoder models are not supported",
    ),
    "unknown sampling": (f"[mine]\n{GOOD}sampling = {{ top_p = 1 }}\n", "sampling: the key top_p is unknown"),
    "no samples": (f"[mine]\n{GOOD}sampling = {{ n = 0 }}\n", "n is 0; it must be above 0"),
    "half a sample": (f"[mine]\n{GOOD}sampling = {{ n = 0.5 }}\n", "n is 0.5, which is no whole number"),
    "a temperature that is none": (f"[mine]\n{GOOD}sampling = {{ temperature = nan }}\n", "must be above 0"),
    "unknown decoding": (f'[mine]\n{GOOD}sampling = {{ decoding = "greedy" }}\n', "known are sample, beam"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_users_file(users: Path, fault: str) -> None:
    text, message = FAULTS[fault]
    users.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_templates()
    assert str(users) in str(caught.value)


def test_a_file_that_is_missing(users: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read .No such file.*LEAN_PROVER_TEMPLATES"):
        load_templates()


def test_a_file_in_another_encoding(users: Path) -> None:
    users.write_bytes("[é]".encode("latin-1"))
    with pytest.raises(InputError, match="are no TOML"):
        load_templates()


def test_an_unknown_template_names_those_that_are_known() -> None:
    with pytest.raises(InputError, match=r"no prompt template 'mine'.*bfs-prover, .*internlm/internlm2-step"):
        template_for("mine")
