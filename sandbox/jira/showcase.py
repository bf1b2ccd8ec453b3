"""Projects with many kinds of fields, for forms: in tests, and in the playground.

| project | issue type | its create screen |
|---|---|---|
| FORMS | Task | every kind that a form can ask, none required |
| | Bug | every kind, required and without a default |
| | Change | every kind, required and with a default |
| | Visit | a required field of a kind that no form can ask |
| | Extras | further kinds, which our form need not ask; none of them required |
| | Catalogue | lists of more than 100 choices, and an empty one |
| | Sub-task | a sub-task |
| DESK | Incident, Question | a service desk: the reporter is required without a default, and so is a field |
| BARE | Task | summary alone: no labels, no description, no priority |

`FIELDS` are the fields of FORMS by id, as their constructors make them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sandbox.jira import kinds as make
from sandbox.jira.fields import Chosen, ScreenField, cascade, choices, first_screen, screen
from sandbox.jira.projects import IssueType, Project
from sandbox.jira.site import JiraSite

_COLOURS: Final = choices(10_100, "Red", "Green", "Blue")
_SITES: Final = cascade(10_200, Europe=("Berlin", "Lisbon"), Asia=("Osaka",), Elsewhere=())
_VERSIONS: Final = choices(10_300, "1.0", "1.1", "2.0")
_COMPONENTS: Final = choices(10_400, "Backend", "Frontend")
MANY: Final = choices(20_000, *(f"Server {number:03}" for number in range(1, 251)))
"""More choices than a select in Slack takes."""

FIELDS: Final[Mapping[str, ScreenField]] = {
    "customfield_10030": make.text("Customer"),
    "customfield_10031": make.text_area("Steps to reproduce"),
    "customfield_10032": make.number("Affected users"),
    "customfield_10033": make.date("Planned day"),
    "customfield_10034": make.date_time("First seen"),
    "customfield_10035": make.option("Colour", _COLOURS),
    "customfield_10036": make.radio("Severity", choices(10_500, "Minor", "Major")),
    "customfield_10037": make.options("Regions", choices(10_600, "North", "South", "West")),
    "customfield_10038": make.checkboxes("Checks", choices(10_700, "Read the manual", "Asked a colleague")),
    "customfield_10039": make.cascading("Office", _SITES),
    "customfield_10040": make.user("Approver"),
    "customfield_10041": make.group("Owning group"),
    "customfield_10042": make.version("Found in", _VERSIONS),
    "customfield_10043": make.labels("Topics"),
    "customfield_10044": make.url("Dashboard"),
    "versions": make.versions("Affects versions", _VERSIONS),
    "fixVersions": make.versions("Fix versions", _VERSIONS),
    "components": make.components(_COMPONENTS),
    "duedate": make.due_date(),
    "environment": make.environment(),
}
DEFAULTS: Final[Mapping[str, Any]] = {
    "customfield_10030": "Nobody in particular",
    "customfield_10032": 1.0,
    "customfield_10033": "2026-12-24",
    "customfield_10034": "2026-11-30T09:00:00.000+0000",
    "customfield_10035": _COLOURS[1],
    "customfield_10037": [choices(10_600, "North")[0]],
    "customfield_10039": Chosen(_SITES[0], _SITES[0].children[1]),
    "customfield_10043": ["untriaged"],
    "customfield_10044": "https://status.example.com/",
    "components": [_COMPONENTS[0]],
}
"""Defaults that createmeta tells; of the other fields of the type Change it says only that there is one."""

FURTHER: Final[Mapping[str, ScreenField]] = {
    "customfield_10060": make.users("Watching people"),
    "customfield_10061": make.groups("Watching groups"),
    "customfield_10062": make.team("Team"),
    "customfield_10063": make.sprint(),
    "customfield_10064": make.epic_link(),
    "customfield_10065": make.objects("Affected objects"),
    "customfield_10066": make.project_picker("Other project"),
    "timetracking": make.time_tracking(),
    "issuelinks": make.linked_issues(),
    "attachment": make.attachment(),
    "security": make.security(choices(10_800, "Staff only")),
}


def showcase(site: JiraSite) -> JiraSite:
    """Add the projects FORMS, DESK and BARE to a site, and return it."""
    site.add_project("FORMS", Project(name="Forms of every kind", types=_forms()))
    site.add_project("DESK", Project(name="Service desk", types=_desk()))
    bare = {name: first_screen()[name] for name in ("project", "issuetype", "summary")}
    site.add_project("BARE", Project(name="Bare", types=(IssueType("10001", "Task", bare),)))
    return site


def _forms() -> tuple[IssueType, ...]:
    required = {name: replace(field, required=True) for name, field in FIELDS.items()}
    defaults = {name: field.with_default(DEFAULTS.get(name)) for name, field in required.items()}
    visit = {"customfield_10062": make.team("Team", required=True)}
    catalogue = {
        "customfield_10070": make.option("Server", MANY, required=True),
        "customfield_10071": make.options("Other servers", MANY),
        "customfield_10072": make.option("Shelf", ()),
    }
    return (
        IssueType("10001", "Task", screen(FIELDS)),
        IssueType("10002", "Bug", screen(required)),
        IssueType("10011", "Change", screen(defaults)),
        IssueType("10012", "Visit", screen(visit)),
        IssueType("10013", "Extras", screen(FURTHER)),
        IssueType("10014", "Catalogue", screen(catalogue)),
        IssueType("10003", "Sub-task", screen({"parent": make.parent()}), subtask=True),
    )


def _desk() -> tuple[IssueType, ...]:
    impact = choices(10_900, "One person", "A team", "Everyone")
    incident = {"customfield_10080": make.option("Impact", impact, required=True)}
    return (
        IssueType("10021", "Incident", screen(incident, reporter_has_default=False)),
        IssueType("10022", "Question", screen({}, reporter_has_default=False)),
    )
