"""Run Celery's worker without modules that a worker does not need: ``threadsync worker``.

The ``celery`` command loads all of its subcommands, and those of other packages: Flower's, with a web server.
Each of a worker's processes would keep them for good.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

_DETACHED: Final = "detach"

_LOADED_IF_INSTALLED: Final = {"redis": "opentelemetry", "structlog": "rich"}
"""Package -> another that it loads if it is installed, for something that we do not use.

redis would send metrics of its own, and structlog draw tracebacks, with the values of all variables in them.
"""


def run(arguments: Sequence[str]) -> NoReturn:
    """Run the worker until it is told to stop, and end the process."""
    for package, optional in _LOADED_IF_INSTALLED.items():
        _load_without(package, optional)
    # Says which extra is missing, if any is.
    from worker.celery import app

    # isort: split
    from celery.bin.base import CLIContext
    from celery.bin.worker import worker as command

    # It would start ``celery`` with our command line.
    command.params = [option for option in command.params if option.name != _DETACHED]
    command.params += app.user_options.get("worker", [])
    sys.exit(
        command.main(
            list(arguments),
            prog_name="threadsync worker",
            obj=CLIContext(app=app, no_color="NO_COLOR" in os.environ, workdir=None),
            auto_envvar_prefix="CELERY_WORKER",
        )
    )


def _load_without(package: str, optional: str) -> None:
    """Import a package as if the optional one were not installed. Whoever needs that imports it later."""
    if optional in sys.modules:
        return
    sys.modules[optional] = None  # type: ignore[assignment]  # as importlib has it for what is not to be found
    try:
        import_module(package)
    except ModuleNotFoundError as exc:
        if exc.name != package:
            raise
    finally:
        del sys.modules[optional]
