"""Files that are there whole or not at all."""

import os
from pathlib import Path

import pytest
from telemed.whole_files import OWNER_ONLY, destroy, write_whole


def test_a_file_takes_the_place_of_the_one_before_with_the_rights_that_were_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "one.key"
    for content, mode in ((b"first", 0o644), (b"second", 0o600)):
        write_whole(file, content, mode)
        assert file.read_bytes() == content
        assert file.stat().st_mode & 0o777 == mode
    assert [one.name for one in tmp_path.iterdir()] == ["one.key"]


def test_what_was_there_stays_where_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "one.key"
    write_whole(file, b"first", 0o600)
    (tmp_path / "one.key.new").mkdir()
    with pytest.raises(OSError, match=r"one\.key\.new"):
        write_whole(file, b"second", 0o600)
    assert file.read_bytes() == b"first"


def test_content_and_name_are_on_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def fsync(number: int) -> None:
        synced.append(Path(f"/proc/self/fd/{number}").readlink().name)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(tmp_path / "one", b"x", 0o600)
    assert synced == ["one.new", tmp_path.name]


def test_what_a_killed_writer_left_is_written_over(tmp_path: Path) -> None:
    left = tmp_path / "one.new"
    left.write_bytes(b"half")
    left.chmod(0o644)
    write_whole(tmp_path / "one", b"whole", 0o600)
    assert (tmp_path / "one").stat().st_mode & 0o077 == 0
    assert not left.exists()


def test_what_root_writes_belongs_to_whoever_has_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda _descriptor, user, group: given.append((user, group)))
    write_whole(tmp_path / "a", b"x", OWNER_ONLY)
    assert given == [(tmp_path.stat().st_uid, tmp_path.stat().st_gid)]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    write_whole(tmp_path / "a", b"x", OWNER_ONLY)
    assert len(given) == 1


def test_what_is_destroyed_is_gone_and_twice_is_harmless(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"x", OWNER_ONLY)
    destroy(tmp_path / "a")
    destroy(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
