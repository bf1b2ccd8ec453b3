"""What a person enters in a field of a golden create screen, and what becomes of it: drawn by Hypothesis."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from hypothesis import strategies as st

from tests.support.golden_values import REFUSED, SET_BY_JIRA
from worker.jira.answers import Deployment

Entry = dict[str, Any]
Verdict = Literal["ok", "form", "jira"]

ANN, TWINS, NOBODY = "U0ANN", "U0TWINS", "U0NOBODY"
"""Slack users: one with an account in Jira, one whose address two accounts have, one without an address."""

ADDRESSES: Final = {ANN: "ann@example.com", TWINS: "twins@example.com"}
ACCOUNTS: Final[dict[Deployment, dict[str, str]]] = {
    "cloud": {"712020:ann": "ann@example.com", "712020:t1": "twins@example.com", "t2": "twins@example.com"},
    "datacenter": {"ann": "ann@example.com", "t1": "twins@example.com", "t2": "twins@example.com"},
}
CHOSEN: Final = ("option", "version", "component", "priority", "option-with-child")
"""Kinds of which the documents have the choices."""

GROUPS: Final = ("devs", "ops")
NO_SUCH_CHOICE: Final = "no such choice"

_WORDS: Final = st.text(alphabet="abc XYZ09&<>é", min_size=1, max_size=60).filter(
    lambda text: bool(text.strip())
)

_NOTHINGS: Final = (
    st.lists(st.sampled_from(["", " ", ">", "> "]), min_size=1, max_size=4).filter(any).map("\n".join)
)
"""Blanks and the signs of a quotation of nothing."""


@dataclass(frozen=True)
class Attempt:
    """What a person enters in a field.

    Args:
        entered: as `tests.support.block_kit.state_of` takes it; None leaves the input alone.
        verdict: whether it is taken, refused by the form, or refused by Jira.
        value: what the ticket is made with; None for nothing, or what cannot be told.
    """

    entered: Any
    verdict: Verdict = "ok"
    value: Any = None


def kind_of(entry: Entry) -> str:
    """Return the kind of a field's value, or of each value in its list."""
    schema = entry["schema"]
    if schema["type"] != "array":
        return str(schema["type"])
    return "label" if schema["items"] == "string" else str(schema["items"])


def is_needed(entry: Entry) -> bool:
    """Return True for a field that Jira takes no ticket without."""
    return bool(entry["required"]) and not entry["hasDefaultValue"] and entry["fieldId"] not in SET_BY_JIRA


def custom_of(entry: Entry) -> str:
    """Return the custom type without the plug-in's name; empty if the field has none."""
    return str(entry["schema"].get("custom") or "").rpartition(":")[2]


def is_area(entry: Entry) -> bool:
    """Return True for a text of several lines."""
    return custom_of(entry) == "textarea" or entry["fieldId"] in ("description", "environment")


def attempts(entry: Entry, is_cloud: bool) -> st.SearchStrategy[Attempt]:
    """Draw what the form and Jira take."""
    name, kind, is_list = entry["fieldId"], kind_of(entry), entry["schema"]["type"] == "array"
    if kind in CHOSEN:
        return _of_choices(entry, is_list=is_list)
    if is_area(entry):
        return (
            st.lists(_WORDS, min_size=1, max_size=3)
            .map("\n".join)
            .filter(lambda text: name != "description" or not is_needed(entry) or not _is_nothing(text))
            .map(lambda text: _area(name, text, is_cloud))
        )
    match kind:
        case "string" if custom_of(entry) == "url":
            address = "https://jira.example/a?b=c&d=é"
            return st.just(Attempt(address, value=address))
        case "string":
            return _WORDS.map(lambda text: Attempt(text, value=_line(name, text)))
        case "number":
            return st.sampled_from(
                [Attempt("12", value=12), Attempt("-2.5", value=-2.5), Attempt("0", value=0)]
            )
        case "date":
            return st.dates().map(lambda day: Attempt(str(day), value=str(day)))
        case "datetime":
            return st.integers(1_000_000_000, 9_999_999_999).map(_moment)
        case "label":
            words = st.lists(st.text("abcé-", min_size=1, max_size=8), min_size=1, max_size=4, unique=True)
            return words.map(lambda labels: Attempt(" ".join(labels), value=labels))
        case "user":
            account = {"accountId": "712020:ann"} if is_cloud else {"name": "ann"}
            return st.just(Attempt([ANN], value=[account]) if is_list else Attempt(ANN, value=account))
        case "group":
            groups = st.lists(st.sampled_from(GROUPS), min_size=1, max_size=2, unique=True)
            if not is_list:
                return st.sampled_from(GROUPS).map(lambda group: Attempt(group, value={"name": group}))
            return groups.map(
                lambda found: Attempt("\n".join(found), value=[{"name": group} for group in found])
            )
    raise AssertionError(f"{name} is of an unknown kind, {kind}")


def refusals(entry: Entry) -> st.SearchStrategy[Attempt] | None:
    """Draw what the form refuses, or Jira; None for a field in which nothing is refused."""
    name, kind, is_list = entry["fieldId"], kind_of(entry), entry["schema"]["type"] == "array"
    drawn: list[Attempt] = []
    if kind in CHOSEN and are_typed(entry):
        drawn.append(Attempt(NO_SUCH_CHOICE, "form"))
    if is_area(entry) and is_needed(entry):
        drawn.append(Attempt(" \n  ", "form"))
    if name == "summary":
        drawn += [Attempt("  ", "form"), Attempt(f"{REFUSED} here", "jira")]
    match kind:
        case "string":
            drawn.append(Attempt("half of a character: \ud800", "form"))
        case "number":
            drawn += [Attempt("twelve", "form"), Attempt("nan", "form")]
        case "date":
            drawn.append(Attempt("2026-13-45", "form"))
        case "datetime":
            drawn.append(Attempt(17, "form"))
        case "user":
            drawn += [Attempt([ANN, who] if is_list else who, "form") for who in (TWINS, NOBODY)]
    drawn += _refused_by_jira(entry, is_list=is_list)
    found = st.sampled_from(drawn) if drawn else None
    if found is not None and name == "description" and is_needed(entry):
        return found | _NOTHINGS.map(lambda text: Attempt(text, "form"))
    return found


def _refused_by_jira(entry: Entry, *, is_list: bool) -> list[Attempt]:
    if kind_of(entry) == "group":
        return [Attempt("devs\nstrangers" if is_list else "strangers", "jira")]
    if custom_of(entry) == "url":
        return [Attempt("nonsense", "jira")]
    return [Attempt("x" * 300, "jira")] if custom_of(entry) == "textfield" else []


def _of_choices(entry: Entry, *, is_list: bool) -> st.SearchStrategy[Attempt]:
    found = offered(entry)
    is_typed = are_typed(entry)

    def attempt(found: list[tuple[str, str, Any]]) -> Attempt:
        entered: Any = [label.swapcase() if is_typed else choice for choice, label, _ in found]
        values = [value for _, _, value in found]
        if not is_list:
            return Attempt(entered[0], value=values[0])
        return Attempt("\n".join(entered) if is_typed else entered, value=values)

    most = 3 if is_list else 1
    return st.lists(st.sampled_from(found), min_size=1, max_size=most, unique_by=lambda item: item[0]).map(
        attempt
    )


def are_typed(entry: Entry) -> bool:
    """Return True if Slack's select has no room for the choices."""
    return len(offered(entry)) > 100


def offered(entry: Entry) -> list[tuple[str, str, Any]]:
    """Return each choice that can be made: as the select has it, as people see it, as Jira takes it."""
    found: list[tuple[str, str, Any]] = []
    for item in entry.get("allowedValues") or ():
        label = item.get("value") or item.get("name")
        if item.get("disabled") or item.get("archived"):
            continue
        if kind_of(entry) == "priority":
            found.append((label, label, {"name": label}))
            continue
        found.append((item["id"], label, {"id": item["id"]}))
        for child in item.get("children", ()) if kind_of(entry) == "option-with-child" else ():
            if not child.get("disabled"):
                value = {"id": item["id"], "child": {"id": child["id"]}}
                found.append((f"{item['id']}/{child['id']}", f"{label} > {child['value']}", value))
    return found


def _is_nothing(text: str) -> bool:
    return all(line.rstrip() in ("", ">") for line in text.splitlines())


def _area(name: str, text: str, is_cloud: bool) -> Attempt:
    if name == "description":
        # Our notation becomes Jira's: that is tested elsewhere.
        return Attempt(text)
    return Attempt(text, value=("area", " ".join(text.split())) if is_cloud else text)


def _line(name: str, text: str) -> str:
    return " ".join(text.split()) if name == "summary" else text.strip()


def _moment(seconds: int) -> Attempt:
    return Attempt(seconds, value=f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.000+0000")


def is_made_of(found: Any, value: Any) -> bool:
    """Return True if a field of a ticket is what an attempt was to make of it."""
    if isinstance(value, tuple):
        return " ".join(_words(found).split()) == str(value[1])
    return json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True)


def _words(node: Any) -> str:
    """Return a document's text."""
    if node["type"] == "text":
        return str(node["text"])
    return "".join(" " if inner["type"] == "hardBreak" else _words(inner) for inner in node["content"])
