"""What one call sends in one write, and the replies to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from threadsync.broker.deadline import Patience
from threadsync.broker.messages import shortfall
from threadsync.broker.refusals import as_ours
from threadsync.errors import EnqueueFailed


@dataclass(eq=False, slots=True)
class Parcel:
    """Requests that go to the broker together.

    Attributes:
        data: the requests.
        expected: number of replies to them.
        patience: how long its caller waits.
        queues: queues that a connection has to make known before.
        weight: number of commands in it.
        wait_at: index of WAIT's reply, if it is to say that ``replicas`` have it within ``seconds``.
        replies: what came back, without what came to what the connection sent before it.
        failure: why there is no reply.
    """

    data: bytes
    expected: int
    patience: Patience
    queues: tuple[str, ...] = ()
    weight: int = 1
    wait_at: int = -1
    replicas: int = 0
    seconds: float = 0
    replies: list[Any] = field(default_factory=list)
    is_answered: bool = False
    failure: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.is_answered or self.failure is not None

    def check(self) -> None:
        """Return if the broker has taken everything. Raises ``EnqueueFailed`` or ``InvalidSettings``."""
        error = self.failure or next((told for told in self.replies if isinstance(told, Exception)), None)
        if error is not None:
            raise as_ours(error) from error
        if self.replicas and self.replies[self.wait_at] < self.replicas:
            raise EnqueueFailed(shortfall(self.replies[self.wait_at], self.replicas, self.seconds))
