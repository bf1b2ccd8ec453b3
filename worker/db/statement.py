"""Statements as data: SQL, its parameters, and how to read its rows."""

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
    rows that it cannot name. ``for_many`` carries out many statements of this text at once, if there is such
    a one: each parameter is an array of theirs then, and ``given_number`` of a row says whose it is, from 1.
    """

    sql: LiteralString
    params: Mapping[str, Any]
    read: Callable[[Rows], T]
    row: tuple[str, ...] | None = None
    for_many: LiteralString | None = None
