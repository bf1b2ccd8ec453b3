"""The base of the DTOs: what leaves the database layer, and what results are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Self, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

_UNREADABLE: Final = "_unreadable"
"""Name beside the fields. A private attribute of pydantic's would take half of the time to read a row."""


class Dto(BaseModel, ABC):
    """Frozen data of a row or a result."""

    # A newer worker may add fields; an older reader must not fail on them. No error quotes what people wrote.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a stored row, also one that another release or a person wrote.

        An invalid value stays as its text, or is None, and ``unreadable`` names it. So a reader that tells
        values apart must have a branch for those that it does not know.
        """
        try:
            return cls.model_validate(row)
        except ValidationError as exc:
            return cls._without(row, {str(error["loc"][0]) for error in exc.errors(include_input=False)})

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Names of the members whose stored value this release does not know."""
        names: tuple[str, ...] = vars(self).get(_UNREADABLE, ())
        return names

    def as_json(self) -> dict[str, Any]:
        """Return the JSON values, with ``unreadable`` among them if there is any."""
        values = self.model_dump(mode="json", warnings=False)
        return {**values, "unreadable": list(self.unreadable)} if self.unreadable else values

    @abstractmethod
    def summary(self) -> str:
        """Return one short line for logs and Flower: its id and state, never what a person wrote."""

    @classmethod
    def _without(cls, row: Mapping[str, Any], bad: set[str]) -> Self:
        members = _members(cls)
        read: dict[str, Any] = {
            name: _stand_in(row.get(name)) if name in bad else member.validate_python(row[name])
            for name, member in members.items()
            if name in bad or name in row
        }
        made = cast("Self", cls.model_construct(**read))
        vars(made)[_UNREADABLE] = tuple(name for name in members if name in bad)
        return made


@cache
def _members(model: type[Dto]) -> dict[str, TypeAdapter[Any]]:
    """Return a validator for each member alone."""
    return {name: TypeAdapter(field.rebuild_annotation()) for name, field in model.model_fields.items()}


_LONGEST_STAND_IN: Final = 255


def _stand_in(value: Any) -> str | None:
    """Return the text of an invalid value, as far as it is worth showing."""
    return value[:_LONGEST_STAND_IN] if isinstance(value, str) else None
