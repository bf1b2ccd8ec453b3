"""The tasks of the commands on channels (queue ``sessions``)."""

from __future__ import annotations

from tasks.command_task import command_task
from threadsync.commands import ChannelMoved, GetContext, MergeContext

get_context = command_task(GetContext)
merge_context = command_task(MergeContext)
moved = command_task(ChannelMoved)
