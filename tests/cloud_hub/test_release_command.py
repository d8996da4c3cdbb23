"""`cloud-hub release`: a file lies at the hub, the named nodes may fetch it, and the trail says so."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cloud_hub.__main__ import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "secrets.json").write_text(json.dumps({"hub": {"secret": "s"}}))
    (tmp_path / "hub.toml").write_text(
        'region = "baoshan"\nname_zh = "中心"\nname_en = "Hub"\n'
        '[store]\nsamples_url = "sqlite:///samples.db"\ncare_url = "sqlite:///care.db"\n'
        '[broker]\nsecrets_file = "secrets.json"\n[rpc]\nfolder = "blobs"\n'
    )
    (tmp_path / "a.bundle").write_bytes(b"a bundle")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def release(folder: Path, *words: str) -> None:
    main(["release", str(folder / "a.bundle"), "--config", str(folder / "hub.toml"), *words])


def rows(folder: Path, question: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "care.db")) as database:
        return list(database.execute(question))


def test_the_named_nodes_may_fetch_it_and_the_trail_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release(folder, "--to", "clinic/edge-1", "--to", "home/edge-2", "--name", "blur 1.0.0")
    sha256 = hashlib.sha256(b"a bundle").hexdigest()
    assert capsys.readouterr().out.splitlines() == [f"{sha256}  clinic/edge-1", f"{sha256}  home/edge-2"]
    assert rows(folder, "SELECT site, node, sha256, kind, name FROM release ORDER BY site") == [
        ("clinic", "edge-1", sha256, "bundle", "blur 1.0.0"),
        ("home", "edge-2", sha256, "bundle", "blur 1.0.0"),
    ]
    assert next((folder / "blobs").rglob(sha256)).read_bytes() == b"a bundle"
    assert (
        rows(folder, "SELECT action, object, result FROM audit") == [("release", f"bundle {sha256}", "blur 1.0.0")] * 2
    )


def test_nothing_is_released_that_the_trail_does_not_say(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("cloud_hub.store.accounts.audit_trail.append", broken)
    with pytest.raises(SystemExit):
        release(folder, "--to", "clinic/edge-1")
    assert rows(folder, "SELECT site FROM release") == []


def test_a_file_that_cannot_be_read_is_blamed_and_not_the_hubs_own_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, opened = folder / "a.bundle", Path.open

    def refused(path: Path, *how: Any, **more: Any) -> Any:
        if path == file:
            raise PermissionError(13, "Permission denied")
        return opened(path, *how, **more)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(SystemExit):
        release(folder, "--to", "clinic/edge-1")
    said = capsys.readouterr().err
    assert "a.bundle: cannot be read: Permission denied" in said
    assert "rpc.folder" not in said


def test_a_file_that_is_not_there_and_a_node_that_cannot_be_are_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("--to", "clinic"), ("--to", "clinic/../../etc")):
        with pytest.raises(SystemExit):
            release(folder, *words)
    (folder / "a.bundle").unlink()
    with pytest.raises(SystemExit):
        release(folder, "--to", "clinic/edge-1")
    assert "is not there" in capsys.readouterr().err
