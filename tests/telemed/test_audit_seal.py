"""The key of a trail and the head beside it: on disk, names and all, before anybody counts on them."""

import os
import stat
from pathlib import Path

import pytest
from telemed import audit
from telemed.audit_seal import KEY, LAST, open_seal


def test_a_key_and_a_head_are_on_disk_with_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[set[str]] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            synced.append(set(os.listdir(descriptor)))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    seal = open_seal(tmp_path)
    assert synced.pop() == {KEY}
    synced.clear()
    open_seal(tmp_path)
    assert synced == []
    seal.note(audit.sign(seal.key, "a" * 32, 1, "0" * 64, 1))
    assert synced == [{KEY, LAST}]
