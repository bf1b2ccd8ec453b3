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

_LOADED_IF_INSTALLED: Final = {
    "redis": ("opentelemetry",),
    "structlog": ("rich", "colorama"),
    "kombu.serialization": ("yaml",),
    "celery.bin.base": ("pygments",),
    "celery.utils.debug": ("psutil",),
}
"""Module -> packages that it loads if they are installed, for something that a worker does not use.

redis would send metrics of its own, structlog draw tracebacks with the values of all variables in them, kombu
read YAML, which a worker of ours refuses, and Celery colour what other workers say, and answer ``inspect
memsample``.
"""


def run(arguments: Sequence[str]) -> NoReturn:
    """Run the worker until it is told to stop, and end the process."""
    for module, packages in _LOADED_IF_INSTALLED.items():
        _load_without(module, packages)
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


def _load_without(module: str, packages: Sequence[str]) -> None:
    """Import a module as if the packages were not installed. Whoever needs one of them imports it later."""
    hidden = [package for package in packages if package not in sys.modules]
    for package in hidden:
        # So importlib notes what is not to be found.
        sys.modules[package] = None  # type: ignore[assignment]
    try:
        import_module(module)
    except ModuleNotFoundError as exc:
        # The app says which extra is missing.
        if exc.name not in module.split("."):
            raise
    finally:
        for package in hidden:
            del sys.modules[package]
