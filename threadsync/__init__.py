"""Everything a program needs to send commands to threadsync and to read their results.

from threadsync import SessionClient

with SessionClient() as client:
    session = client.get_or_create("C0123", "1700000000.000100", "U0456").get(timeout=2)
"""

from threadsync.actors import Actor, AnyActor, NamedActor, SlackActor
from threadsync.async_client import AsyncSessionClient
from threadsync.channels import ChannelContext, ChannelMove, ContextResult
from threadsync.client import SessionClient
from threadsync.command import Command
from threadsync.commands import (
    ChannelMoved,
    GetContext,
    GetOrCreate,
    GetSession,
    Link,
    ListByChannel,
    MarkSynced,
    MergeContext,
    RequestSync,
    Unlink,
    UpdateStatus,
)
from threadsync.errors import (
    BrokerUnavailable,
    CommandFailed,
    DatabaseFault,
    DatabaseUnavailable,
    DeadLetterNotFound,
    EnqueueFailed,
    InvalidCommand,
    InvalidSettings,
    JiraKeyConflict,
    PermanentError,
    PoisonCommand,
    ResultTimeout,
    SchemaMismatch,
    SessionNotFound,
    SyncNotChanged,
    SyncNotFound,
    ThreadsyncError,
    TransientError,
    UnreadableResult,
)
from threadsync.handles import AsyncHandle, Handle
from threadsync.lookup_commands import LinkAnswer, LinkLookup
from threadsync.send_hooks import SendHook, add_send_hook
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from threadsync.sync_commands import RetrySync
from threadsync.syncs import Draft, SyncState
from threadsync.types import Outcome, Status

__all__ = [
    "Actor",
    "AnyActor",
    "AsyncHandle",
    "AsyncSessionClient",
    "BrokerUnavailable",
    "ChannelContext",
    "ChannelMove",
    "ChannelMoved",
    "Command",
    "CommandFailed",
    "ContextResult",
    "DatabaseFault",
    "DatabaseUnavailable",
    "DeadLetterNotFound",
    "Draft",
    "EnqueueFailed",
    "GetContext",
    "GetOrCreate",
    "GetSession",
    "Handle",
    "InvalidCommand",
    "InvalidSettings",
    "JiraKeyConflict",
    "Link",
    "LinkAnswer",
    "LinkLookup",
    "ListByChannel",
    "MarkSynced",
    "MergeContext",
    "NamedActor",
    "Outcome",
    "PermanentError",
    "PoisonCommand",
    "RequestSync",
    "ResultTimeout",
    "RetrySync",
    "SchemaMismatch",
    "SendHook",
    "SessionClient",
    "SessionNotFound",
    "SessionPage",
    "SessionResult",
    "SlackActor",
    "Status",
    "SyncNotChanged",
    "SyncNotFound",
    "SyncState",
    "ThreadSession",
    "ThreadsyncError",
    "TransientError",
    "Unlink",
    "UnreadableResult",
    "UpdateStatus",
    "add_send_hook",
]
