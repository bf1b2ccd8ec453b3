"""The user that Postgres runs as: it refuses root, as which many containers run."""

from __future__ import annotations

import functools
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from worker.local.child import succeeds
from worker.local.failure import LocalServiceFailed

_NOBODY = 65534


@dataclass(frozen=True)
class Identity:
    """A way to run a program so that it does not see itself as root, and the owner of its files."""

    prefix: tuple[str, ...]
    owner: int | None

    def hand_over(self, path: Path) -> None:
        """Make the identity the owner of a folder and all in it; a no-op when it is already."""
        if self.owner is None or path.stat().st_uid == self.owner:
            return
        for folder, _, files in os.walk(path, topdown=False):
            for name in files:
                os.chown(Path(folder) / name, self.owner, self.owner)
            os.chown(folder, self.owner, self.owner)


@functools.cache
def unprivileged() -> Identity:
    """Find the best way of this machine. Raises ``LocalServiceFailed`` if root cannot become another."""
    if os.geteuid() != 0:
        return Identity((), None)
    for identity in (_namespace(), _nobody()):
        if succeeds([*identity.prefix, "true"]):
            return identity
    raise LocalServiceFailed(
        "Postgres does not run as root, and this machine allows neither a user namespace nor a change of "
        "user. Run this as an ordinary user, or set DATABASE_URL to a Postgres of your own."
    )


def _namespace() -> Identity:
    """Map root to the user `nobody` in a namespace: files stay root's, in any folder that root can reach."""
    unshare = shutil.which("unshare") or "unshare"
    return Identity((unshare, "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--"), 0)


def _nobody() -> Identity:
    """Become the user `nobody`, with root's capability to pass folders that are closed to others.

    A checkout below root's home is such a folder. Containers usually refuse the namespace and allow this.
    """
    setpriv = shutil.which("setpriv") or "setpriv"
    only = "-all,+dac_override"
    user = (f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
    return Identity((setpriv, *user, f"--inh-caps={only}", f"--ambient-caps={only}", "--"), _NOBODY)
