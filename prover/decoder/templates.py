"""Prompt templates of open models: how each was trained to be asked, and how its answers are read.

They stand in ``templates.toml``; a file of the same format, named by ``LEAN_PROVER_TEMPLATES``, adds to them
and goes first: an entry of the same name takes the place of ours. An entry is a table with these keys::

    [my-model]                      # its name
    form = "history"                # what a prompt may tell: goal, history, context, whole
    prompt = "{statement}\\n{state}"  # the text, with fields in braces; {{ and }} are braces
    models = ["me/my-model"]        # hub ids it is for
    stop = ["\\n"]                   # texts that end an answer
    prefix = "TACTIC "              # what answers start with, and is no part of the tactic
    postfix = "END"                 # what they end with
    sampling = { n = 8, temperature = 0.7, max_tokens = 128, decoding = "sample" }   # as published
                                    # per_token = true: a tactic counts the mean of its tokens
    encoder_decoder = false         # true is refused: only decoders are supported

All but ``form`` and ``prompt`` may be left out. The fields, by the form that first may use them:

    goal      {state}: the goals, a blank line between them; {name}: the theorem's
    history   {statement}; {proof_before}: the tactics so far, one a line
    context   {declarations}: accessible ones, one a line, the nearest to the goal last
    whole     all of these; the answer is the rest of the proof instead of one tactic
"""

from __future__ import annotations

import math
import string
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from prover.decoder.completion import Decoding, Sampling
from prover.decoder.prompts import PromptForm, Situation, cut_to_fit, name_of
from prover.decoder.whole import tactics_of
from prover.errors import InputError
from prover.settings import settings

_Choice = TypeVar("_Choice", bound=StrEnum)

_OURS = Path(__file__).with_name("templates.toml")

_GOAL = frozenset(("state", "name"))
_HISTORY = _GOAL | {"statement", "proof_before"}
_CONTEXT = _HISTORY | {"declarations"}
#: The fields that a form may use.
FIELDS = {
    PromptForm.GOAL: _GOAL,
    PromptForm.HISTORY: _HISTORY,
    PromptForm.CONTEXT: _CONTEXT,
    PromptForm.WHOLE: _CONTEXT,
}


@dataclass(frozen=True, slots=True)
class Template:
    """How a model is asked, and how its answers are read."""

    name: str
    form: PromptForm
    #: The text with its fields in braces.
    prompt: str
    #: Hub ids of the models it is for.
    models: tuple[str, ...]
    #: As published; with the texts that end an answer.
    sampling: Sampling
    #: What answers start and end with that is no part of a tactic.
    prefix: str = ""
    postfix: str = ""

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        return self.sampling.stop

    def render(self, situation: Situation, budget: int, count: Callable[[str], int]) -> str:
        """Return a situation's prompt in at most ``budget`` tokens, cut as our own prompts are.

        Args:
            count: the number of a text's tokens. It is asked for whole prompts, a number of times that grows
                with the logarithm of what there is to cut.

        Raises:
            InputError: the template's own text does not fit.
        """
        name = name_of(situation.statement)
        fitted = cut_to_fit(self._shown(situation), lambda tried: count(self._filled(tried, name)) <= budget)
        if fitted is None:
            raise InputError(
                f"The template {self.name} alone takes more than the {budget} tokens that a prompt may have: "
                "make it shorter, or choose a model with a larger context."
            )
        return self._filled(fitted, name)

    def tactic_of(self, completion: str) -> str:
        """The one tactic that was asked for, without what surrounds it; "" if there is none."""
        return next(iter(self.tactics_of(completion)), "")

    def tactics_of(self, completion: str) -> tuple[str, ...]:
        """The tactics of an answer, to be run one by one, each on the main goal."""
        for stop in self.stop:
            completion = completion.partition(stop)[0]
        if self.prefix and completion.lstrip().startswith(self.prefix):
            completion = completion.lstrip().removeprefix(self.prefix).lstrip(" ")
        if self.postfix:
            completion = completion.rstrip().removesuffix(self.postfix)
        return tactics_of(_unquoted(completion))

    def _shown(self, situation: Situation) -> Situation:
        """The situation without what the prompt does not tell."""
        fields = {field for _, field in _parts(self.prompt)}
        return Situation(
            situation.statement if "statement" in fields else "",
            situation.history if "proof_before" in fields else (),
            situation.goals if "state" in fields else (),
            situation.context if "declarations" in fields else (),
        )

    def _filled(self, situation: Situation, name: str) -> str:
        values = {
            "": "",
            "name": name,
            "state": "\n\n".join(situation.goals),
            "statement": situation.statement,
            "proof_before": "\n".join(step.tactic for step in situation.history),
            "declarations": "\n".join(reversed(situation.context)),
        }
        return "".join(literal + values[field] for literal, field in _parts(self.prompt))


@cache
def _parts(prompt: str) -> tuple[tuple[str, str], ...]:
    """The texts of a prompt, each with the field that follows it or "".

    Raises:
        ValueError: a brace is alone, or a field is more than a name.
    """
    found = []
    for literal, field, format_, conversion in string.Formatter().parse(prompt):
        if field == "" or format_ or conversion:
            raise ValueError("a field is a name in braces and nothing else")
        found.append((literal, field or ""))
    return tuple(found)


def _unquoted(text: str) -> str:
    """The text without the backticks that some models put around one line of code."""
    stripped = text.strip()
    is_quoted = len(stripped) > 2 and stripped[0] == stripped[-1] == "`" and stripped.count("`") == 2
    return stripped[1:-1] if is_quoted else text


# --- loading --------------------------------------------------------------------------------------


def load_templates() -> dict[str, Template]:
    """Return all templates by name, those of the user first.

    Raises:
        InputError: the user's file cannot be read, or an entry in it is at fault.
    """
    chosen = settings().templates
    users = _read(chosen) if chosen else {}
    return users | {name: template for name, template in _read(_OURS).items() if name not in users}


def template_for(name_or_model: str) -> Template:
    """Return the template of this name, or else the first one that is for the model of this hub id.

    Raises:
        InputError: there is none, or the user's file is at fault.
    """
    templates = load_templates()
    if found := templates.get(name_or_model):
        return found
    for template in templates.values():
        if name_or_model in template.models:
            return template
    models = sorted(model for template in templates.values() for model in template.models)
    raise InputError(
        f"There is no prompt template {name_or_model!r}. Known are {', '.join(sorted(templates))}, and "
        f"by their models {', '.join(models)}; LEAN_PROVER_TEMPLATES may name a file with others."
    )


def _read(path: Path) -> dict[str, Template]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"The prompt templates in {path} cannot be read ({error.strerror}): "
            "correct LEAN_PROVER_TEMPLATES, or unset it."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"The prompt templates in {path} are no TOML: {error}") from error
    return {name: _template(name, entry, f"{path}, template {name}") for name, entry in entries.items()}


def _template(name: str, entry: object, place: str) -> Template:
    if not isinstance(entry, dict):
        raise InputError(f"{place}: it is a value on its own; a template is a table, [{name}].")
    _check_keys(entry, _TYPES, place)
    if missing := [key for key in ("form", "prompt") if key not in entry]:
        raise InputError(f"{place}: the key {missing[0]} is missing.")
    if entry.get("encoder_decoder"):
        raise InputError(f"{place}: encoder-decoder models are not supported.")
    form = _one_of(PromptForm, entry["form"], "form", place)
    _check_fields(form, entry["prompt"], place)
    return Template(
        name,
        form,
        entry["prompt"],
        _texts(entry, "models", place),
        _sampling(entry.get("sampling", {}), _texts(entry, "stop", place), place),
        entry.get("prefix", ""),
        entry.get("postfix", ""),
    )


_TYPES: Mapping[str, type] = {
    "form": str,
    "prompt": str,
    "models": list,
    "stop": list,
    "prefix": str,
    "postfix": str,
    "sampling": dict,
    "encoder_decoder": bool,
}
_SAMPLING_TYPES: Mapping[str, type] = {
    "n": int,
    "temperature": float,
    "max_tokens": int,
    "decoding": str,
    "per_token": bool,
}
_KINDS: Mapping[type, str] = {
    str: "text",
    list: "list",
    dict: "table",
    bool: "true or false",
    int: "whole number",
    float: "number",
}


def _check_keys(entry: Mapping[str, object], types: Mapping[str, type], place: str) -> None:
    for key, value in entry.items():
        if key not in types:
            raise InputError(f"{place}: the key {key} is unknown; known are {', '.join(types)}.")
        expected = types[key]
        if expected is float and type(value) is int:
            continue
        if type(value) is not expected:
            raise InputError(f"{place}: {key} is {value!r}, which is no {_KINDS[expected]}.")


def _check_fields(form: PromptForm, prompt: str, place: str) -> None:
    try:
        used = {field for _, field in _parts(prompt) if field}
    except ValueError as error:
        hint = "a brace of the text itself is written {{ or }}"
        raise InputError(f"{place}: the prompt's braces are at fault ({error}); {hint}.") from error
    if unknown := sorted(used - FIELDS[form]):
        known = ", ".join(f"{{{field}}}" for field in sorted(FIELDS[form]))
        raise InputError(
            f"{place}: the prompt has the field {{{unknown[0]}}}; of the form {form} are {known}."
        )


def _texts(entry: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
    texts = tuple(text for text in entry.get(key, ()) if isinstance(text, str) and text)
    if len(texts) != len(entry.get(key, ())):
        raise InputError(f"{place}: {key} is a list of texts, none of them empty.")
    return texts


def _sampling(entry: Mapping[str, Any], stop: tuple[str, ...], place: str) -> Sampling:
    place = f"{place}, sampling"
    _check_keys(entry, _SAMPLING_TYPES, place)
    for key in ("n", "temperature", "max_tokens"):
        if not 0 < entry.get(key, 1) < math.inf:
            raise InputError(f"{place}: {key} is {entry[key]}; it must be above 0.")
    values = dict(entry)
    if "decoding" in values:
        values["decoding"] = _one_of(Decoding, values["decoding"], "decoding", place)
    return Sampling(**values, stop=stop)


def _one_of(kind: type[_Choice], value: str, key: str, place: str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise InputError(f"{place}: the {key} {value!r} is unknown; known are {known}.") from None
