"""A folder that holds secrets, or what is run: ours alone, and nobody could put another in its place.

What lies in such a folder is believed: Flower's state is a pickle, and a server's data are passwords. So one
that another user of the machine may have prepared is refused, and so is one that another could rename.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Final

_FOR_OTHERS: Final = 0o077
_NOBODY: Final = 65534


class UnsafeFolder(Exception):
    """Others could read, write or replace it; the message says what to do."""


def make_private(path: Path) -> None:
    """Make the folder with mode 0700 if there is none, and look at it. Raises ``UnsafeFolder`` or OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_unsafe(path)


def refuse_unsafe(path: Path) -> None:
    """Raise ``UnsafeFolder`` unless it is ours, closed to others, and cannot be renamed by them."""
    real = path.resolve(strict=True)
    found = real.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeFolder(f"{path} is no folder")
    if found.st_uid != os.geteuid():
        raise UnsafeFolder(
            f"{path} belongs to {_name_of(found.st_uid)}, who may have prepared what is in it: "
            "choose another folder, or give it to us (chown) after a look inside"
        )
    if stat.S_IMODE(found.st_mode) & _FOR_OTHERS:
        raise UnsafeFolder(
            f"{path} is open to others, who may have prepared what is in it: choose another folder, such as "
            f"one below it, or after a look inside chmod 700 {path}"
        )
    for parent in {*path.absolute().parents, *real.parents}:
        _refuse_parent(parent, path)


def refuse_foreign(folder: Path) -> None:
    """Raise ``UnsafeFolder`` if something in a folder of ours is a link, or was made by another user."""
    for path in folder.iterdir():
        found = path.lstat()
        owners = {os.geteuid()}
        if os.geteuid() == 0 and stat.S_ISDIR(found.st_mode):
            # Postgres does not run as root: its data are this user's, in a folder of root's.
            owners.add(_NOBODY)
        if stat.S_ISLNK(found.st_mode) or found.st_uid not in owners:
            raise UnsafeFolder(
                f"{path} was not made by us: look at it, and take it out of {folder} or give it to us (chown)"
            )


def _refuse_parent(parent: Path, path: Path) -> None:
    found = parent.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise UnsafeFolder(
            f"{path} is below {parent}, which belongs to {_name_of(found.st_uid)}, who could put another "
            "folder in its place: choose another one"
        )
    if found.st_mode & stat.S_ISVTX:
        return
    if found.st_mode & stat.S_IWOTH:
        raise UnsafeFolder(_renamable(path, parent, "others", "chmod o-w"))
    if found.st_mode & stat.S_IWGRP and not _is_our_own(found.st_gid):
        raise UnsafeFolder(_renamable(path, parent, f"the group {_group(found.st_gid)}", "chmod g-w"))


def _renamable(path: Path, parent: Path, whom: str, how: str) -> str:
    return (
        f"{path} is below {parent}, in which {whom} may write and so put another folder in its place: "
        f"{how} {parent}, or choose another one"
    )


def _is_our_own(group: int) -> bool:
    """Whether nobody is in the group but us and root.

    That is known of root's group, of the one with our own name that many systems make for each user, and of a
    number without an entry, which a container platform gives us. Who is in others is not always told (LDAP).
    """
    try:
        entry = grp.getgrgid(group)
    except KeyError:
        return group in {os.getegid(), *os.getgroups()}
    names = {"root", _name_of(os.geteuid())}
    return entry.gr_name in names and set(entry.gr_mem) <= names


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _group(group: int) -> str:
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)
