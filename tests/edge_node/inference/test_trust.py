"""Which bundles a node believes: real signatures, judged by the node's own step."""

import json
import os
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from telemed.bundle import Bundle, BundleRefused, Refusal, parse
from telemed.bundle_archive import Archive

from deploy.bundles import repository
from edge_node.inference.trust import Trust
from tests.fakes.bundles import Maker
from tests.faults.chaos.disk import held
from tests.faults.relay.namespaces import Unavailable


@pytest.fixture
def trust(tmp_path: Path, maker: Maker) -> Trust:
    return Trust(tmp_path / "trust", maker.root)


def check(trust: Trust, path: Path) -> Bundle:
    with Archive(path) as archive:
        bundle = parse(archive.manifest())
        trust.check(archive, bundle)
        return bundle


def refusal(trust: Trust, path: Path) -> Refusal:
    with pytest.raises(BundleRefused) as refused:
        check(trust, path)
    return refused.value.reason


def changed(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Return a copy of a bundle's file with other entries."""
    with zipfile.ZipFile(path) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    change(entries)
    copy = path.with_name(f"changed-{path.name}")
    with zipfile.ZipFile(copy, "w") as out:
        for name, content in entries.items():
            out.writestr(name, content)
    return copy


def test_a_signed_bundle_is_believed_again_and_again(trust: Trust, maker: Maker) -> None:
    path = maker.pack()
    assert check(trust, path).manifest.version == "1.0.0"
    check(trust, path)
    check(trust, maker.pack("1.1.0"))


def test_what_was_seen_outlasts_a_loss_of_power_just_after_the_first_bundle(tmp_path: Path, maker: Maker) -> None:
    older, newer = maker.pack("1.0.0"), maker.pack("1.1.0")
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    try:
        with held(folder, tmp_path / "disk.img", 16) as disk:
            trust = Trust(folder / "trust", maker.root)
            check(trust, newer)
            disk.lose_power(Random(18))
            assert refusal(trust, older) is Refusal.NOT_CURRENT
    except Unavailable as reason:
        pytest.skip(str(reason))


def test_a_bundle_signed_under_another_root_is_not_believed(trust: Trust, tmp_path: Path) -> None:
    assert refusal(trust, Maker(tmp_path / "stranger").pack()) is Refusal.SIGNATURE_WRONG


def test_a_manifest_that_was_changed_after_signing_is_not_believed(trust: Trust, maker: Maker) -> None:
    def promise_more(entries: dict[str, bytes]) -> None:
        said = json.loads(entries["manifest.json"])
        entries["manifest.json"] = json.dumps(said | {"trained_on": "patients"}).encode()

    assert refusal(trust, changed(maker.pack(), promise_more)) is Refusal.HASH_WRONG


def test_signatures_of_another_key_for_the_task_are_not_believed(trust: Trust, maker: Maker, tmp_path: Path) -> None:
    with zipfile.ZipFile(Maker(tmp_path / "stranger").pack()) as other:
        foreign = other.read("metadata/2.blur.json")

    def sign_by_another(entries: dict[str, bytes]) -> None:
        entries["metadata/2.blur.json"] = foreign

    assert refusal(trust, changed(maker.pack(), sign_by_another)) is Refusal.SIGNATURE_WRONG


def test_a_bundle_without_signatures_is_not_believed(trust: Trust, maker: Maker) -> None:
    def drop(entries: dict[str, bytes]) -> None:
        del entries["metadata/timestamp.json"]

    assert refusal(trust, changed(maker.pack(), drop)) is Refusal.ARCHIVE_UNREADABLE


def test_an_older_bundle_is_refused_once_a_newer_one_was_seen(trust: Trust, maker: Maker) -> None:
    older, newer = maker.pack("1.0.0"), maker.pack("1.1.0")
    check(trust, older)
    check(trust, newer)
    assert refusal(trust, older) is Refusal.NOT_CURRENT


def test_what_was_seen_is_on_disk_before_it_has_its_name(
    trust: Trust, maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, fsync = os.replace, os.fsync
    synced: set[int] = set()
    named: list[str] = []

    def note_sync(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def look(source: str, place: str) -> None:
        named.append(Path(place).name)
        assert Path(source).stat().st_ino in synced
        replace(source, place)

    maker.repository.replace_key("root")
    path = maker.pack()
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", look)
    check(trust, path)
    roots = ["1.root.json", "2.root.json"]
    assert sorted(named) == [*roots, "blur.json", "snapshot.json", "targets.json", "timestamp.json"]
    assert {(tmp_path / "trust" / folder).stat().st_ino for folder in (".", "root_history")} <= synced


def test_signatures_that_cannot_be_read_now_are_no_fault_of_the_bundle(
    trust: Trust, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    path = maker.pack()
    with monkeypatch.context() as patch:
        patch.setattr(Archive, "metadata", broken)
        with pytest.raises(OSError, match="Input/output error"):
            check(trust, path)
    check(trust, path)


def test_an_older_version_that_is_signed_anew_is_current_again(trust: Trust, maker: Maker) -> None:
    check(trust, maker.pack("1.1.0"))
    assert check(trust, maker.pack("1.0.0")).manifest.version == "1.0.0"


def test_signatures_that_ran_out_are_refused(trust: Trust, maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "FRESH_FOR", timedelta(seconds=-1))
    assert refusal(trust, maker.pack()) is Refusal.METADATA_EXPIRED
    monkeypatch.undo()
    maker.repository.freshen()
    check(trust, maker.pack())


def test_a_bundle_of_another_task_that_comes_late_is_current_all_the_same(trust: Trust, maker: Maker) -> None:
    maker.repository.add_task("edges")
    edges = maker.pack(task="edges")
    check(trust, maker.pack())
    check(trust, edges)


def test_a_root_that_was_changed_is_followed_from_the_pinned_one(trust: Trust, maker: Maker) -> None:
    check(trust, maker.pack())
    maker.repository.replace_key("targets")
    check(trust, maker.pack("1.1.0"))


def test_the_signatures_say_until_when_they_are_good(maker: Maker) -> None:
    root = json.loads(maker.root)["signed"]
    assert datetime.fromisoformat(root["expires"]) > datetime.now(UTC) + timedelta(days=1000)
