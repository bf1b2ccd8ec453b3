"""Folders that are believed are ours alone, and nobody can put another one in their place."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest

from worker.embedded.data_dir import DataDir
from worker.embedded.failure import LocalServiceFailed
from worker.private_folder import UnsafeFolder, make_private, refuse_foreign, refuse_unsafe

SOMEBODY = 12345

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
    """However far above; a sticky one, like /tmp, lets nobody rename what is ours."""
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
    for group in (SOMEBODY, grp.getgrnam("daemon").gr_gid):
        os.chown(parent, 0, group)
        with pytest.raises(UnsafeFolder, match="chmod g-w"):
            refuse_unsafe(parent / "folder")


@as_root
def test_one_of_another_user_is_refused(tmp_path: Path) -> None:
    """Also if only a parent is another's, who could rename what is below."""
    folder = tmp_path / "theirs" / "ours"
    make_private(folder)
    os.chown(folder, SOMEBODY, 0)
    with pytest.raises(UnsafeFolder, match="belongs to user 12345"):
        refuse_unsafe(folder)
    os.chown(folder, 0, 0)
    os.chown(tmp_path / "theirs", SOMEBODY, 0)
    with pytest.raises(UnsafeFolder, match="could put another"):
        refuse_unsafe(folder)


def test_a_link_leads_to_what_is_looked_at(tmp_path: Path) -> None:
    """A link of ours may stand there; where it leads, and where it stands, is looked at."""
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


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o600)
    with pytest.raises(UnsafeFolder, match="no folder"):
        refuse_unsafe(tmp_path / "file")


def test_what_others_left_inside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(UnsafeFolder, match="not made by us"):
        refuse_foreign(tmp_path)


@as_root
def test_a_file_of_another_user_inside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refuse_foreign(tmp_path)
    os.chown(tmp_path / "file", SOMEBODY, 0)
    with pytest.raises(UnsafeFolder, match="not made by us"):
        refuse_foreign(tmp_path)


def test_a_data_folder_that_was_prepared_is_refused(tmp_path: Path) -> None:
    """In a sentence, and before anything in it is read or written."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(LocalServiceFailed, match="open to others"):
        DataDir(folder).acquire()
    assert list(folder.iterdir()) == []
