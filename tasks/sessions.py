"""The tasks of the commands on sessions (queue ``sessions``)."""

from __future__ import annotations

from tasks.command_task import command_task
from threadsync.commands import (
    GetOrCreate,
    GetSession,
    Link,
    ListByChannel,
    MarkSynced,
    RequestSync,
    Unlink,
    UpdateStatus,
)

get_or_create = command_task(GetOrCreate)
update_status = command_task(UpdateStatus)
mark_synced = command_task(MarkSynced)
request_sync = command_task(RequestSync)
link = command_task(Link)
unlink = command_task(Unlink)
get = command_task(GetSession)
list_by_channel = command_task(ListByChannel)
