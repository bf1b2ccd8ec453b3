"""Configure Flower (``--conf``), and end it if it would be open to all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import flower.events  # type: ignore[import-untyped]

from threadsync.errors import InvalidSettings
from worker.durable.event_receiver import RedactingReceiver
from worker.operate.flower_options import is_weak, options_for, prepare_state, refuse_arguments

try:
    refuse_arguments(sys.argv)
    _options = options_for(os.environ)
except InvalidSettings as exc:
    sys.exit(f"threadsync: {exc}")
if is_weak(_options):
    sys.stderr.write("threadsync: a password in FLOWER_BASIC_AUTH has fewer than 12 characters\n")
try:
    if _options["persistent"]:
        prepare_state(Path(_options["db"]))
    else:
        sys.stderr.write(
            "threadsync: FLOWER_DB: no home folder: what Flower sees is not kept over restarts\n"
        )
except InvalidSettings as exc:
    sys.exit(f"threadsync: {exc}")
except OSError as exc:
    # On a read-only file system, for example, Flower shows events without keeping them.
    sys.stderr.write(f"threadsync: FLOWER_DB: {exc.strerror}: what Flower sees is not kept over restarts\n")
    _options["persistent"] = False
# Flower reads the names of this module; its command line takes precedence.
globals().update(_options)
# Set before Flower's thread makes its receiver.
flower.events.EventReceiver = RedactingReceiver
