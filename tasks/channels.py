"""The tasks on queue ``sessions`` that are about channels; names and arguments are in ``tasks.commands``."""

from __future__ import annotations

from tasks.command_task import command_task
from tasks.commands import ChannelMoved, GetContext, MergeContext

get_context = command_task(GetContext)
merge_context = command_task(MergeContext)
moved = command_task(ChannelMoved)
