"""A command: what a web process may ask of the worker, as data with a name.

One that exists is valid: the constructor checks it, in the web process before it is sent and in the worker
before it is run, with the same rules. No I/O and no database driver here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from threadsync.errors import InvalidCommand
from threadsync.types import describe
from worker.db.sessions.statements import Statement

R = TypeVar("R")


class Command(BaseModel, ABC, Generic[R]):
    """What to do, with its arguments. ``name`` is the Celery task's name; ``R`` is what the worker answers.

    Raises ``InvalidCommand`` that names every fault, also when it is built.
    """

    # Fields that a newer producer added are ignored, so that web and worker may be upgraded in any order.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    name: ClassVar[str]
    queue: ClassVar[str]
    result: ClassVar[TypeAdapter[Any]]

    def __init__(self, **arguments: Any) -> None:
        try:
            super().__init__(**arguments)
        except ValidationError as exc:
            raise InvalidCommand(f"{self.name}: {describe(exc)}") from exc

    @classmethod
    def from_message(cls, args: Any, kwargs: Any) -> Self:
        """The command that a message carries; its arguments may be anything. Raises ``InvalidCommand``."""
        if args:
            raise InvalidCommand(f"{cls.name}: arguments have names; send them as keyword arguments")
        if not isinstance(kwargs, Mapping):
            raise InvalidCommand(f"{cls.name}: keyword arguments must be a JSON object")
        return cls(**{name: value for name, value in kwargs.items() if name in cls.model_fields})

    @classmethod
    def refuse_unknown(cls, names: Mapping[str, Any]) -> None:
        """For the sending side, where a name that the command does not have is a slip of the pen."""
        unknown = sorted(set(names) - set(cls.model_fields))
        if unknown:
            known = ", ".join(cls.model_fields)
            raise InvalidCommand(f"{cls.name}: no argument {', '.join(unknown)}; it takes {known}")

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the message, as JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    @abstractmethod
    def summary(self) -> str:
        """One short line for people who watch: which thread, and what for. Never what somebody wrote."""


@dataclass(frozen=True, slots=True)
class Message:
    """A task that is to be run next."""

    name: str
    kwargs: Mapping[str, Any]
    queue: str


class StatementCommand(Command[R], ABC):
    """A command that is one SQL statement, so that many run in one round trip."""

    def model_post_init(self, context: Any, /) -> None:
        # Rules that no field can state (a patch's depth, say) are the statement's own.
        self.statement()

    @abstractmethod
    def statement(self) -> Statement[R]:
        """The one SQL statement that carries the command out."""

    @classmethod
    def message_after(cls, result: R) -> Message | None:
        """What is to be run next, now that the command is done. Nothing that must not be lost."""
        return None
