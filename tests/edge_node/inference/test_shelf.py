"""Where bundles lie: whole or not at all, and what is known of them outlives the process."""

from pathlib import Path

import pytest
from telemed.bundle import BundleRefused, Refusal, parse
from telemed.bundle_archive import Archive

from edge_node.inference.engine import Choice, Library
from edge_node.inference.rollout import Event, Row, Stage, moved, on_trial
from edge_node.inference.shelf import STATE, Shelf
from tests.fakes.bundles import Maker


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "models")


def put(shelf: Shelf, path: Path) -> str:
    with Archive(path) as archive:
        bundle = parse(archive.manifest())
        shelf.put(archive, bundle)
    return bundle.bundle_id


def test_what_was_put_is_there_and_putting_it_again_is_harmless(shelf: Shelf, maker: Maker) -> None:
    path = maker.pack()
    bundle_id = put(shelf, path)
    assert put(shelf, path) == bundle_id
    assert shelf.bundle(bundle_id).manifest.version == "1.0.0"
    assert (shelf.place(bundle_id) / "net.onnx").is_file()


def test_a_bundle_that_is_refused_half_way_leaves_nothing(shelf: Shelf, maker: Maker) -> None:
    path = maker.pack()
    content = bytearray(path.read_bytes())
    content[content.rindex(b"kernel") + 30] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleRefused):
        put(shelf, path)
    assert list((shelf.folder / "bundles").iterdir()) == []


def test_remains_of_a_process_that_was_killed_are_in_nobodys_way(shelf: Shelf, maker: Maker) -> None:
    remains = shelf.folder / "bundles" / ".unpacking"
    remains.mkdir()
    (remains / "net.onnx").write_bytes(b"half")
    bundle_id = put(shelf, maker.pack())
    shelf.save(on_trial((), shelf.bundle(bundle_id), 1))
    assert [path.name for path in (shelf.folder / "bundles").iterdir()] == [bundle_id]


def test_a_manifest_that_the_disk_damaged_is_not_believed(shelf: Shelf, maker: Maker) -> None:
    bundle_id = put(shelf, maker.pack())
    manifest = shelf.place(bundle_id) / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"1.0.0", b"1.0.1"))
    with pytest.raises(BundleRefused) as refused:
        shelf.bundle(bundle_id)
    assert refused.value.reason is Refusal.HASH_WRONG
    with pytest.raises(BundleRefused):
        shelf.bundle("f" * 64)


def test_rows_outlive_the_process_and_files_of_what_is_gone_are_deleted(shelf: Shelf, maker: Maker) -> None:
    first, second = put(shelf, maker.pack("1.0.0")), put(shelf, maker.pack("1.1.0"))
    rows = moved(on_trial((), shelf.bundle(first), 1), first, Event.FAILED, 2, ("too-slow", "9 s"))
    rows = moved(on_trial(rows, shelf.bundle(second), 3), second, Event.PASSED, 4)
    for bundle_id in (first, second):
        (shelf.folder / "engines" / bundle_id).mkdir(parents=True)
    (shelf.folder / "engines" / "10.timings").write_bytes(b"shared by all")
    shelf.save(rows)
    assert Shelf(shelf.folder).rows() == rows
    for folder in ("bundles", "engines"):
        assert not (shelf.folder / folder / first).exists()
        assert (shelf.folder / folder / second).exists()
    assert (shelf.folder / "engines" / "10.timings").exists()


def test_saving_leaves_alone_what_is_being_unpacked(shelf: Shelf) -> None:
    fresh = shelf.folder / "bundles" / ".unpacking"
    fresh.mkdir()
    shelf.save(())
    assert fresh.exists()


def test_the_engine_that_was_chosen_is_remembered(shelf: Shelf) -> None:
    row = Row("a" * 64, "blur", "1.0.0", Stage.SERVING, 1, choice=Choice(Library.TENSORRT, "fp16"), offer="10.13 card")
    shelf.save((row,))
    assert shelf.rows() == (row,)


@pytest.mark.parametrize("content", [b"", b"[{}]", b'{"a": 1}', b"\xff", b'[{"stage": "dreaming", "choice": {}}]'])
def test_rows_that_cannot_be_read_are_none(shelf: Shelf, content: bytes) -> None:
    (shelf.folder / STATE).write_bytes(content)
    assert shelf.rows() == ()
