"""Statements as data: SQL, its parameters, and how to read its rows. Many go down one pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, LiteralString, TypeVar

T = TypeVar("T")
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Statement(Generic[T]):
    """One SQL statement, ready to run: ``read`` turns its rows into the result, or raises our error.

    ``row`` names the one row that it reads or writes: a channel, or a channel and a thread. None: it reads
    rows that it cannot name.
    """

    sql: LiteralString
    params: Mapping[str, Any]
    read: Callable[[Rows], T]
    row: tuple[str, ...] | None = None
