"""The return value of a command's task: JSON for the result, one line for Flower and logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from threadsync.dto import Dto


class Answer(Mapping[str, Any]):
    """A DTO's JSON values. Its ``repr``, which Celery sends to Flower and to logs, is the DTO's summary.

    No ``dict``: Celery would show every field of one, what people wrote included, and take longer than the
    command's SQL to do so.
    """

    def __init__(self, dto: Dto) -> None:
        self._values = dto.model_dump(mode="json", warnings=False)
        self._summary = dto.summary()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return self._summary

    def __json__(self) -> dict[str, Any]:
        """Return the values, for kombu's JSON serializer."""
        return self._values
