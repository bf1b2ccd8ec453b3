"""The base of commands: requests of a client to the worker, as data with a name.

A command is validated when it is made and when it arrives, by the same rules; one that exists is valid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from threadsync.errors import InvalidCommand
from threadsync.types import describe

R = TypeVar("R")


class Validated(BaseModel, Generic[R]):
    """Arguments for a result ``R``, valid once they exist. Raises ``InvalidCommand``, naming all faults."""

    # Fields that a newer producer added are ignored, so that web and worker may be upgraded in any order.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    # Hidden from mypy, which then checks the names of the arguments.
    if not TYPE_CHECKING:

        def __init__(self, **arguments: Any) -> None:
            try:
                super().__init__(**arguments)
            except ValidationError as exc:
                raise InvalidCommand(describe(exc)) from exc


@dataclass(frozen=True, slots=True)
class Message:
    """A task to send: its name, its arguments and its queue."""

    name: str
    kwargs: Mapping[str, Any]
    queue: str


class Command(Validated[R], ABC):
    """A request to the worker. ``name`` is the Celery task's name; ``result`` reads what it returns."""

    name: ClassVar[str]
    queue: ClassVar[str]
    result: ClassVar[TypeAdapter[Any]]

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Make ``result`` of the ``R`` in brackets; what is derived of ``Command[R]`` has it from there."""
        super().__pydantic_init_subclass__(**options)
        if result := cls.__pydantic_generic_metadata__["args"]:
            cls.result = TypeAdapter(result[0])

    @classmethod
    def from_message(cls, args: Any, kwargs: Any) -> Self:
        """Read the command of a message, whose arguments may be anything. Raises ``InvalidCommand``."""
        if args:
            raise InvalidCommand(f"{cls.name}: arguments have names; send them as keyword arguments")
        if not isinstance(kwargs, Mapping):
            raise InvalidCommand(f"{cls.name}: keyword arguments must be a JSON object")
        made = cls.__new__(cls)
        try:
            # As ``BaseModel.__init__`` does, without its arguments' way through Python.
            cls.__pydantic_validator__.validate_python(dict(kwargs), self_instance=made)
        except ValidationError as exc:
            raise InvalidCommand(f"{cls.name}: {describe(exc)}") from exc
        except InvalidCommand as exc:
            raise InvalidCommand(f"{cls.name}: {exc}") from exc
        return made

    @classmethod
    def refuse_unknown(cls, names: Mapping[str, Any]) -> None:
        """Refuse names that the command does not have: for a sender they are misspelt."""
        unknown = sorted(set(names) - set(cls.model_fields))
        if unknown:
            known = ", ".join(cls.model_fields)
            raise InvalidCommand(f"{cls.name}: no argument {', '.join(unknown)}; it takes {known}")

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of the message, as JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    @abstractmethod
    def summary(self) -> str:
        """Return one short line for logs and Flower: thread and purpose, never what a person wrote."""
