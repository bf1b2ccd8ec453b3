"""The settings of a channel, and reading them from a context that may hold anything.

A value of another shape counts as absent, and the other settings stand: junk in a context fails nothing. Each
such value is a ``Fault``, which the doctor reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from threadsync.syncs import ProjectKey, ShortName
from threadsync.types import SlackId

MEMBER: Final = "threadsync"
"""The one member of a channel's context that is ours; all others belong to other programs."""

UNVERIFIED: Final = "unverified"
MOST_LABELS: Final = 10
MOST_PEOPLE: Final = 100

SettingName = Literal["project_key", "issue_type", "labels", "priority", "include", "who"]
NAMES: Final[tuple[SettingName, ...]] = get_args(SettingName)
VERIFIABLE: Final[tuple[SettingName, ...]] = ("project_key", "issue_type")
"""The settings that Jira can confirm."""

Include = Literal["link", "text", "files"]
Audience = Literal["workspace", "everyone"]
Value = str | tuple[str, ...]
"""The value of a setting."""


def _as_tuple(value: Any) -> Any:
    """Return a JSON list as a tuple without duplicates, in the order given."""
    if not isinstance(value, list | tuple):
        return value
    return tuple(dict.fromkeys(value)) if all(isinstance(item, str) for item in value) else tuple(value)


_Labels = Annotated[
    tuple[ShortName, ...], BeforeValidator(_as_tuple), Field(min_length=1, max_length=MOST_LABELS)
]
_People = Annotated[
    tuple[SlackId, ...], BeforeValidator(_as_tuple), Field(min_length=1, max_length=MOST_PEOPLE)
]


def _as_who(value: Any) -> Any:
    return _PEOPLE.validate_python(value) if isinstance(value, list | tuple) else value


_PEOPLE: Final[TypeAdapter[tuple[str, ...]]] = TypeAdapter(_People)


def _is_who(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if isinstance(value, str) and value not in get_args(Audience):
        raise ValueError("is not an audience")
    return value


_Who = Annotated[str | tuple[str, ...], BeforeValidator(_as_who), AfterValidator(_is_who)]

_READERS: Final[Mapping[SettingName, TypeAdapter[Any]]] = {
    "project_key": TypeAdapter(ProjectKey),
    "issue_type": TypeAdapter(ShortName),
    "labels": TypeAdapter(_Labels),
    "priority": TypeAdapter(ShortName),
    "include": TypeAdapter(Include),
    "who": TypeAdapter(_Who),
}

FORMS: Final[Mapping[SettingName, str]] = {
    "project_key": "the key of a project, such as PROJ",
    "issue_type": "the name or ID of an issue type, at most 255 characters long",
    "labels": f"1 to {MOST_LABELS} labels of at most 255 characters",
    "priority": "the name of a priority, at most 255 characters long",
    "include": "link, text or files",
    "who": f"workspace, everyone, or 1 to {MOST_PEOPLE} users and user groups",
}
"""What the value of each setting must be, to end a sentence with."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """The settings of a channel; None, or no label, where the channel has no value of its own.

    ``include`` is how much of the thread goes to the ticket: ``link | text | files``. ``who`` are those who
    may act: ``workspace | everyone``, or ids of users and user groups. ``unverified`` names the settings that
    Jira has not confirmed.
    """

    project_key: str | None = None
    issue_type: str | None = None
    labels: tuple[str, ...] = ()
    priority: str | None = None
    include: Include | None = None
    who: str | tuple[str, ...] | None = None
    unverified: frozenset[SettingName] = frozenset()

    def values(self) -> dict[SettingName, Value]:
        """Return the settings that the channel has, by name."""
        given = {name: getattr(self, name) for name in NAMES}
        return {name: value for name, value in given.items() if value}


NO_SETTINGS: Final = ChannelSettings()


@dataclass(frozen=True, slots=True)
class Fault:
    """A value that counts as absent; ``why`` completes the sentence "<where> …" without quoting it."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where} {self.why}"


@dataclass(frozen=True, slots=True)
class Reading:
    """The settings of a context, and the faults in it."""

    settings: ChannelSettings
    faults: tuple[Fault, ...] = ()


def valid(name: SettingName, value: Any) -> Value:
    """Return the value as the setting has it. Raises ``ValueError``, whose text says what it must be."""
    try:
        read: Value = _READERS[name].validate_python(value)
    except ValidationError:
        raise ValueError(f"is not {FORMS[name]}") from None
    return read


def read_settings(context_data: Any) -> Reading:
    """Read the channel's settings from its whole context; of anything else, none and no fault."""
    return (
        read_member(context_data.get(MEMBER)) if isinstance(context_data, Mapping) else Reading(NO_SETTINGS)
    )


def read_member(member: Any) -> Reading:
    """Read the member ``threadsync`` alone; None if the context has none."""
    if member is None:
        return Reading(NO_SETTINGS)
    if not isinstance(member, Mapping):
        return Reading(NO_SETTINGS, (Fault(MEMBER, "is not an object"),))
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for key, given in member.items():
        where = f"{MEMBER}.{_shown(key)}"
        if key == UNVERIFIED:
            values[UNVERIFIED], more = _unverified(given)
            faults.extend(more)
        elif key not in NAMES:
            faults.append(Fault(where, "is no setting that this release knows"))
        elif given is not None:
            try:
                values[key] = valid(key, given)
            except ValueError as exc:
                faults.append(Fault(where, str(exc)))
    unverified = frozenset(values.get(UNVERIFIED, frozenset()) & values.keys())
    return Reading(ChannelSettings(**{**values, UNVERIFIED: unverified}), tuple(faults))


def _unverified(given: Any) -> tuple[frozenset[SettingName], list[Fault]]:
    where = f"{MEMBER}.{UNVERIFIED}"
    if given is None:
        return frozenset(), []
    if not isinstance(given, Mapping):
        return frozenset(), [Fault(where, "is not an object")]
    names = frozenset(name for name in VERIFIABLE if given.get(name) is True)
    wrong = [key for key, value in given.items() if key not in names and value is not None]
    return names, [Fault(f"{where}.{_shown(key)}", "is not true for a setting of ours") for key in wrong]


def _shown(key: Any) -> str:
    """Return a member's name as far as it can be shown in one line."""
    text = str(key)[:40]
    return text if text.isprintable() else ascii(text)[1:-1]
