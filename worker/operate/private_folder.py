"""Make sure that a folder with secrets or code is ours alone, and that no other user can replace it.

Its content is trusted: Flower's state is a pickle, and a server's data are passwords. So a folder is refused
that another user of the machine may have prepared or could rename, or that is reached by another's link.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FOR_OTHERS: Final = 0o077
_NOBODY: Final = 65534
_MOST_LINKS: Final = 40
"""Most links on a path, the kernel's own limit."""

# Linux, include/uapi/linux/posix_acl_xattr.h: a version, then tag, permissions and id of each entry.
_ACL: Final = "system.posix_acl_access"
_ACL_ENTRY: Final = struct.Struct("<HHI")
_A_USER, _OWNING_GROUP, _A_GROUP, _MASK = 0x02, 0x04, 0x08, 0x10
_MAY_WRITE: Final = 2


class UnsafeFolder(Exception):
    """A folder that others could read, write or replace; the message says what to do."""


def make_private(path: Path) -> None:
    """Make the folder with mode 0700 if it is missing, and check it. Raises ``UnsafeFolder`` or OSError."""
    for folder in (*reversed(path.absolute().parents), path):
        if not folder.exists():
            # Not `parents=True`, which makes those as open as the umask lets it.
            folder.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    refuse_unsafe(path)


def refuse_unsafe(path: Path) -> None:
    """Raise ``UnsafeFolder`` unless it is ours and closed to others, who could not replace it."""
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
    for entry in _way_to(path):
        _refuse_parent(entry.parent, path)
        _refuse_link_of_others(entry, path)


def refuse_foreign(folder: Path) -> None:
    """Raise ``UnsafeFolder`` if something in a folder of ours is a link, or was made by another user."""
    for path in folder.iterdir():
        found = path.lstat()
        owners = {os.geteuid()}
        if os.geteuid() == 0 and stat.S_ISDIR(found.st_mode):
            # Postgres does not run as root: its data are this user's, in a folder of root's.
            owners.add(_NOBODY)
        if stat.S_ISLNK(found.st_mode):
            raise UnsafeFolder(f"{path} is a link, which we do not make there: remove it from {folder}")
        if found.st_uid not in owners:
            raise UnsafeFolder(
                f"{path} was not made by us: look at it, and take it out of {folder} or give it to us (chown)"
            )


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 in one step: a reader sees all of it or the old one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        # As file names are, whatever the locale.
        file.write(os.fsencode(text))
    draft.replace(path)


def _way_to(path: Path) -> Iterator[Path]:
    """Yield each entry on the path from the root, links and their targets included."""
    ahead, here, links = list(reversed(path.absolute().parts[1:])), Path("/"), 0
    while ahead:
        name = ahead.pop()
        if name == "..":
            here = here.parent
            continue
        entry = here / name
        yield entry
        if not entry.is_symlink():
            here = entry
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = entry.readlink()
        here = Path("/") if target.is_absolute() else here
        ahead += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _refuse_link_of_others(entry: Path, path: Path) -> None:
    # The sticky bit lets each user change its own entries.
    owner = entry.lstat().st_uid
    if entry.is_symlink() and entry.parent.stat().st_mode & stat.S_ISVTX and owner not in (0, os.geteuid()):
        raise UnsafeFolder(
            f"{path} is reached by the link {entry}, which belongs to {_name_of(owner)}, who could have it "
            "lead elsewhere: choose another folder"
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
    if found.st_mode & stat.S_IWGRP and (others := _writers_by_group(parent, found.st_gid)):
        raise UnsafeFolder(_renamable(path, parent, others, "chmod g-w"))


def _writers_by_group(parent: Path, group: int) -> str:
    """Name others who may write, by the access list or by the group."""
    entries = _access_list(parent) or [(_OWNING_GROUP, _MAY_WRITE, group)]
    for tag, rights, who in entries:
        if tag == _A_USER and rights & _MAY_WRITE and who not in (0, os.geteuid()):
            return _name_of(who)
        of_group = who if tag == _A_GROUP else group
        if tag in (_A_GROUP, _OWNING_GROUP) and rights & _MAY_WRITE and not _is_our_own(of_group):
            return f"the group {_group(of_group)}"
    return ""


def _access_list(folder: Path) -> list[tuple[int, int, int]]:
    try:
        found = os.getxattr(folder, _ACL)
    except (OSError, AttributeError):
        # There is none, or no such thing here.
        return []
    entries = list(_ACL_ENTRY.iter_unpack(found[4:]))
    mask = next((rights for tag, rights, _ in entries if tag == _MASK), ~0)
    return [(tag, rights & mask, who) for tag, rights, who in entries]


def _renamable(path: Path, parent: Path, whom: str, how: str) -> str:
    return (
        f"{path} is below {parent}, in which {whom} may write and so put another folder in its place: "
        f"{how} {parent}, or choose another one"
    )


def _is_our_own(group: int) -> bool:
    """Return True if the group has no members but us and root.

    That is known of root's group, of one with our own name, which many systems make for each user, and of a
    number without an entry, which a container platform gives us. LDAP does not always tell the others.
    """
    try:
        entry = grp.getgrgid(group)
    except KeyError:
        return group in {os.getegid(), *os.getgroups()}
    names = {"root", _name_of(os.geteuid())}
    by_login = {user.pw_name for user in pwd.getpwall() if user.pw_gid == group}
    return entry.gr_name in names and by_login | set(entry.gr_mem) <= names


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
