"""The exceptions of threadsync.

    ThreadsyncError
    ├── TransientError            the same call may succeed later; nothing is wrong with it
    │   ├── DatabaseUnavailable   Postgres is away, starting, or failing over
    │   │   └── DatabaseFault     Postgres answers but cannot do this: an operator must repair the database
    │   ├── BrokerUnavailable     Valkey, Redis or RabbitMQ did not answer
    │   ├── EnqueueFailed         the broker did not take the message in time
    │   └── ResultTimeout         the command was enqueued; its result did not come in time
    └── PermanentError            the same call will fail again; a person or a program must change something
        ├── InvalidCommand        an argument is missing or wrong
        ├── SessionNotFound       no session for that thread, waiting included
        ├── SyncNotFound          the session never requested a ticket
        ├── SyncNotChanged        the request does not fit the sync's state
        ├── JiraKeyConflict       the session is already synced with another ticket
        ├── PoisonCommand         the command was parked: it ended its worker too often
        ├── CommandFailed         the worker failed with an error that is not ours
        ├── UnreadableResult      what stands in the result backend is no result of that command
        ├── DeadLetterNotFound    no such dead letter, or it is settled already
        ├── SchemaMismatch        the database's schema is newer or older than this code
        └── InvalidSettings       the environment is incomplete or wrong

Errors travel from the worker to the caller as JSON: each class can be rebuilt from its ``args``.
Driver errors are translated where they enter (``worker.db``, ``threadsync.client``), always ``from exc``.
"""

from __future__ import annotations

from typing import Final

_LONGEST_NAMED: Final = 500


class ThreadsyncError(Exception):
    """Root of threadsync's errors."""


class TransientError(ThreadsyncError):
    """The same call may succeed later."""


class PermanentError(ThreadsyncError):
    """The same call will fail again."""


class DatabaseUnavailable(TransientError):
    """Postgres did not answer, or ended the connection. The statement may have taken effect."""


class DatabaseFault(DatabaseUnavailable):
    """Postgres answers but cannot do this: not set up, locked for long, too slow each time, or damaged.

    Nothing was written. A command that meets it waits for an hour at most, not without end.
    """


class BrokerUnavailable(TransientError):
    """The broker did not answer a question."""


class EnqueueFailed(TransientError):
    """The broker did not confirm the message in time. Send it again: arriving twice does no harm.

    Attributes:
        confirmed: of the commands of a ``send_many``, how many the broker has surely, from the first on.
    """

    confirmed: int = 0


class ResultTimeout(TransientError, TimeoutError):
    """The command is enqueued, and its result was not there within the time given."""


class InvalidCommand(PermanentError):
    """An argument is missing or wrong; the message names each one. Never retried."""


class SessionNotFound(PermanentError):
    """The thread has no session, and none came while the command waited."""

    def __init__(self, channel_id: str, thread_ts: str) -> None:
        super().__init__(channel_id, thread_ts)
        self.channel_id = channel_id
        self.thread_ts = thread_ts

    def __str__(self) -> str:
        return (
            f"no session for thread {self.thread_ts} in channel {self.channel_id}; "
            "send sessions.get_or_create for it first"
        )


class SyncNotFound(PermanentError):
    """The session never requested a ticket."""


class SyncNotChanged(PermanentError):
    """The request does not fit the sync's state; nothing was changed."""


class JiraKeyConflict(PermanentError):
    """The session already has another ticket. Nothing was changed."""

    def __init__(self, channel_id: str, thread_ts: str, jira_key: str, refused_key: str) -> None:
        super().__init__(channel_id, thread_ts, jira_key, refused_key)
        self.channel_id = channel_id
        self.thread_ts = thread_ts
        self.jira_key = jira_key
        self.refused_key = refused_key

    def __str__(self) -> str:
        return (
            f"thread {self.thread_ts} in channel {self.channel_id} is already synced with {self.jira_key}; "
            f"{self.refused_key} was refused"
        )


class PoisonCommand(PermanentError):
    """The command ended its worker each time it was delivered. It is kept as a dead letter."""

    def __init__(self, task_name: str, deliveries: int) -> None:
        super().__init__(task_name, deliveries)
        self.task_name = task_name
        self.deliveries = deliveries

    def __str__(self) -> str:
        times = f"was delivered {self.deliveries} times"
        return f"{self.task_name} {times}; each time its worker died or ran out of memory"


class CommandFailed(PermanentError):
    """The worker failed with an error that is not one of ours; the message names its class."""


class UnreadableResult(PermanentError):
    """The result backend holds no result of the command, or none that this release can read.

    The command may have been carried out; it may be sent again. The text quotes nothing of the result.
    """


class DeadLetterNotFound(PermanentError):
    """The dead letter does not exist, or is settled already."""


class SchemaMismatch(PermanentError):
    """The database's schema version is not the one this code was written for."""


class InvalidSettings(PermanentError):
    """The environment is incomplete or wrong; one line for each fault, without the values of secrets."""


def named(error: BaseException) -> str:
    """Return the error's class and message for the log; its repr may hold the bytes of a message."""
    return f"{type(error).__name__}: {error}"[:_LONGEST_NAMED]


def as_ours(error: BaseException) -> ThreadsyncError:
    """Return the error if it is one of ours, else a ``CommandFailed`` that names it."""
    if isinstance(error, ThreadsyncError):
        return error
    return CommandFailed(f"{type(error).__name__}: {error}")
