"""Golden create screens of Jira Cloud and of a Data Center, and the fields that a form asks for on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from worker.jira.answers import Deployment

FOLDER: Final = Path(__file__).parents[1] / "data" / "form"
DEPLOYMENTS: Final[tuple[Deployment, ...]] = ("cloud", "datacenter")

# Name, kind, shape on Cloud, shape on a Data Center, several values, number of choices.
EXPECTED: Final = [
    ("Summary", "string", "bare", "bare", False, 0),
    ("Description", "text_area", "bare", "bare", False, 0),
    ("Assignee", "user", "bare", "bare", False, 0),
    ("Priority", "priority", "bare", "bare", False, 4),
    ("Labels", "labels", "bare", "bare", True, 0),
    ("Environment", "text_area", "adf", "bare", False, 0),
    ("Due date", "date", "bare", "bare", False, 0),
    ("Fix versions", "version", "id", "id", True, 2),
    ("Components", "component", "id", "id", True, 2),
    ("Customer", "string", "bare", "bare", False, 0),
    ("Steps to reproduce", "text_area", "adf", "bare", False, 0),
    ("Story points", "number", "bare", "bare", False, 0),
    ("Start date", "date", "bare", "bare", False, 0),
    ("Happened at", "date_time", "bare", "bare", False, 0),
    ("Log", "url", "bare", "bare", False, 0),
    ("Severity", "option", "id", "id", False, 2),
    ("Regression", "option", "id", "id", False, 2),
    ("Platforms", "option", "id", "id", True, 2),
    ("Checked", "option", "id", "id", True, 2),
    ("Region", "cascading", "id", "id", False, 4),
    ("Owner", "user", "accountId", "name", False, 0),
    ("Reviewers", "user", "accountId", "name", True, 0),
    ("Team", "group", "name", "name", False, 0),
    ("Teams", "group", "name", "name", True, 0),
    ("Found in", "version", "id", "id", False, 1),
    ("Affected", "version", "id", "id", True, 2),
    ("Tags", "labels", "bare", "bare", True, 0),
]
UNASKABLE: Final = ("Sprint", "Imported id", "Nothing to choose", "Security level")


def screens_of(deployment: Deployment) -> list[list[dict[str, Any]]]:
    """Return the fields of each golden screen of a deployment, those of the sandbox's documents too."""
    pages = [FOLDER / f"createmeta-{deployment}.json"]
    pages += sorted((FOLDER.parent / "createmeta").glob(f"{deployment}-fields-*.json"))
    name = "fields" if deployment == "cloud" else "values"
    return [json.loads(page.read_text())[name] for page in pages]


def golden(name: str) -> Any:
    """Return a page of Jira's."""
    return json.loads((FOLDER / f"{name}.json").read_text())
