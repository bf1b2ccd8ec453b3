"""Private folders: they belong to us alone, and no other user can replace one."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import struct
from pathlib import Path

import pytest

from worker.local.data_dir import DataDir, default_data_dir
from worker.local.failure import LocalServiceFailed
from worker.operate.private_folder import UnsafeFolder, make_private, refuse_foreign, refuse_unsafe

ANOTHER = 12345

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make folders of other users")


def test_one_that_we_make_is_ours_alone(tmp_path: Path) -> None:
    make_private(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    make_private(tmp_path / "a" / "b")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o755, 0o750, 0o701, 0o720])
def test_one_that_is_open_is_refused_and_left_as_it_is(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(UnsafeFolder, match="chmod 700"):
        make_private(folder)
    assert folder.stat().st_mode & 0o7777 == mode


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o703])
def test_a_parent_that_others_may_write_is_refused(mode: int, tmp_path: Path) -> None:
    """A parent that others can write is refused however far above, unless it is sticky like /tmp."""
    parent = tmp_path / "parent"
    (parent / "between").mkdir(parents=True)
    make_private(parent / "between" / "folder")
    parent.chmod(mode)
    with pytest.raises(UnsafeFolder, match="chmod o-w"):
        refuse_unsafe(parent / "between" / "folder")
    parent.chmod(mode | 0o1000)
    refuse_unsafe(parent / "between" / "folder")


@as_root
def test_a_parent_of_a_group_with_others_in_it_is_refused(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    make_private(parent / "folder")
    parent.chmod(0o775)
    refuse_unsafe(parent / "folder")
    for group in (ANOTHER, grp.getgrnam("daemon").gr_gid):
        os.chown(parent, 0, group)
        with pytest.raises(UnsafeFolder, match="chmod g-w"):
            refuse_unsafe(parent / "folder")


@as_root
def test_one_of_another_user_is_refused(tmp_path: Path) -> None:
    """A folder of another user is refused, and so is one below another user's folder."""
    folder = tmp_path / "theirs" / "ours"
    make_private(folder)
    os.chown(folder, ANOTHER, 0)
    with pytest.raises(UnsafeFolder, match="belongs to user 12345"):
        refuse_unsafe(folder)
    os.chown(folder, 0, 0)
    os.chown(tmp_path / "theirs", ANOTHER, 0)
    with pytest.raises(UnsafeFolder, match="could put another"):
        refuse_unsafe(folder)


def test_a_link_leads_to_what_is_looked_at(tmp_path: Path) -> None:
    """A link of ours is accepted if both the place of the link and its target are safe."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    make_private(tmp_path / "closed")
    (tmp_path / "link").symlink_to(tmp_path / "closed")
    refuse_unsafe(tmp_path / "link")
    (tmp_path / "open" / "link").symlink_to(tmp_path / "closed")
    with pytest.raises(UnsafeFolder):
        refuse_unsafe(tmp_path / "open" / "link")
    (tmp_path / "to-open").symlink_to(tmp_path / "open")
    with pytest.raises(UnsafeFolder):
        refuse_unsafe(tmp_path / "to-open")


@as_root
def test_a_link_of_another_user_is_refused(tmp_path: Path) -> None:
    """A link of another user is refused anywhere on the way, because its owner may redirect it."""
    shared, ours = tmp_path / "shared", tmp_path / "ours"
    make_private(ours / "below")
    shared.mkdir()
    shared.chmod(0o1775)
    for name, target in (("theirs", ours), ("roots", ours), ("folder", ours / "below")):
        (shared / name).symlink_to(target)
    (tmp_path / "by-theirs").symlink_to("shared/theirs")
    for name in ("theirs", "folder"):
        os.chown(shared / name, ANOTHER, ANOTHER, follow_symlinks=False)
    refuse_unsafe(shared / "roots" / "below")
    for way in (shared / "theirs" / "below", shared / "folder", tmp_path / "by-theirs" / "below"):
        with pytest.raises(UnsafeFolder, match=r"by the link .* belongs to user 12345"):
            make_private(way)


def test_links_that_lead_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises((OSError, RuntimeError)):
        make_private(tmp_path / "a" / "folder")


def test_parents_are_made_for_us_alone_whatever_the_umask(tmp_path: Path) -> None:
    """Missing parents are made with mode 0700, whatever the umask."""
    before = os.umask(0)
    try:
        make_private(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / way).stat().st_mode) for way in ("a", "a/b", "a/b/c")] == [0o700] * 3


@as_root
def test_a_group_in_which_another_user_logs_in_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group is not ours if it is the login group of another user, whom the group does not list."""
    make_private(tmp_path / "parent" / "folder")
    (tmp_path / "parent").chmod(0o775)
    refuse_unsafe(tmp_path / "parent" / "folder")
    another = pwd.struct_passwd(("another", "x", ANOTHER, 0, "", "/", "/bin/sh"))
    monkeypatch.setattr("pwd.getpwall", lambda: [another])
    with pytest.raises(UnsafeFolder, match="the group root"):
        refuse_unsafe(tmp_path / "parent" / "folder")


@as_root
@pytest.mark.parametrize(("tag", "who"), [(0x02, ANOTHER), (0x08, ANOTHER)])
def test_an_access_list_that_lets_others_write_is_refused(tag: int, who: int, tmp_path: Path) -> None:
    """An access list that lets others write is refused, although the mode shows only the group."""
    parent = tmp_path / "parent"
    make_private(parent / "folder")
    none = 0xFFFFFFFF
    entries = sorted([(0x01, 7, none), (tag, 7, who), (0x04, 5, none), (0x10, 7, none), (0x20, 5, none)])
    listed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(parent, "system.posix_acl_access", listed)
    except OSError as exc:
        pytest.skip(f"no access lists here: {exc.strerror}")
    with pytest.raises(UnsafeFolder, match="chmod g-w"):
        refuse_unsafe(parent / "folder")
    # The remedy is a stricter mode.
    parent.chmod(0o755)
    refuse_unsafe(parent / "folder")


def test_without_a_home_folder_there_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no default folder without an absolute home folder."""
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(LocalServiceFailed, match="no home folder"):
        default_data_dir()
    monkeypatch.setenv("XDG_DATA_HOME", "relative too")
    with pytest.raises(LocalServiceFailed, match="no home folder"):
        default_data_dir()
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_data_dir() == Path("/home/ann/.local/share/threadsync")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o600)
    with pytest.raises(UnsafeFolder, match="no folder"):
        refuse_unsafe(tmp_path / "file")


def test_what_others_left_inside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(UnsafeFolder, match="is a link"):
        refuse_foreign(tmp_path)


@as_root
def test_a_file_of_another_user_inside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refuse_foreign(tmp_path)
    os.chown(tmp_path / "file", ANOTHER, 0)
    with pytest.raises(UnsafeFolder, match="not made by us"):
        refuse_foreign(tmp_path)


def test_a_data_folder_that_was_prepared_is_refused(tmp_path: Path) -> None:
    """A data folder that is open to others is refused before anything in it is read or written."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(LocalServiceFailed, match="open to others"):
        DataDir(folder).acquire()
    assert list(folder.iterdir()) == []
