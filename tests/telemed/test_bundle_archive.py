"""The file of a bundle: the same content gives the same bytes, and nothing of a hostile one gets onto the disk."""

import errno
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from telemed import bundle_archive
from telemed.bundle import Bundle, BundleRefused, Refusal, parse
from telemed.bundle_archive import Archive

from deploy.bundles import packing
from tests.fakes.bundles import Maker, draft


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Maker(tmp_path_factory.mktemp("maker")).pack()


def bundle_of(path: Path) -> Bundle:
    with Archive(path) as archive:
        return parse(archive.manifest())


def remade(packed: Path, out: Path, change: Callable[[zipfile.ZipInfo, bytes], tuple[zipfile.ZipInfo, bytes]]) -> Path:
    """Write a copy of an archive in which each entry was changed."""
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(out, "w") as target:
        for entry in source.infolist():
            target.writestr(*change(entry, source.read(entry)))
    return out


def refusal(path: Path, folder: Path) -> Refusal:
    with pytest.raises(BundleRefused) as refused, Archive(path) as archive:
        archive.unpack(parse(archive.manifest()), folder)
    return refused.value.reason


def test_what_was_written_is_unpacked_whole_and_for_the_owner_alone(packed: Path, tmp_path: Path) -> None:
    with Archive(packed) as archive:
        bundle = parse(archive.manifest())
        archive.unpack(bundle, tmp_path / "out")
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"manifest.json", *bundle.manifest.files}
    assert all(stat.S_IMODE((tmp_path / "out" / name).stat().st_mode) == 0o600 for name in found)


def test_the_same_content_is_the_same_file(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "maker")
    folder = maker.fill()
    bundle = packing.complete(draft(), folder)
    for name in ("one", "two"):
        bundle_archive.write(tmp_path / name, bundle, folder, {"timestamp.json": b"{}"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"x" * 1000])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bundle"
    path.write_bytes(content)
    with pytest.raises(BundleRefused) as refused, Archive(path) as archive:
        archive.manifest()
    assert refused.value.reason is Refusal.ARCHIVE_UNREADABLE


def test_a_compressed_entry_a_link_and_a_name_twice_are_refused(packed: Path, tmp_path: Path) -> None:
    def squeezed(entry: zipfile.ZipInfo, content: bytes) -> tuple[zipfile.ZipInfo, bytes]:
        entry.compress_type = zipfile.ZIP_DEFLATED
        return entry, content

    def linked(entry: zipfile.ZipInfo, content: bytes) -> tuple[zipfile.ZipInfo, bytes]:
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        return entry, content

    def twice(entry: zipfile.ZipInfo, content: bytes) -> tuple[zipfile.ZipInfo, bytes]:
        entry.filename = "manifest.json"
        return entry, content

    assert refusal(remade(packed, tmp_path / "1", squeezed), tmp_path / "out") is Refusal.ARCHIVE_UNREADABLE
    assert refusal(remade(packed, tmp_path / "2", linked), tmp_path / "out") is Refusal.ARCHIVE_UNREADABLE
    with pytest.warns(UserWarning, match="Duplicate name"):
        doubled = remade(packed, tmp_path / "3", twice)
    assert refusal(doubled, tmp_path / "out") is Refusal.ARCHIVE_UNREADABLE
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_longer_shorter_or_other_than_signed_is_refused(packed: Path, tmp_path: Path) -> None:
    def with_graph(made: Callable[[bytes], bytes]) -> Callable[[zipfile.ZipInfo, bytes], tuple[zipfile.ZipInfo, bytes]]:
        return lambda entry, content: (entry, made(content) if entry.filename == "net.onnx" else content)

    changes: list[Callable[[bytes], bytes]] = [
        lambda content: content + b"x",
        lambda content: content[:-1],
        lambda content: bytes([content[0] ^ 1]) + content[1:],
    ]
    for number, change in enumerate(changes):
        path = remade(packed, tmp_path / str(number), with_graph(change))
        assert refusal(path, tmp_path / f"out-{number}") is Refusal.HASH_WRONG


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside", "..\\outside", "a//b", "nul\0/../x"])
def test_an_entry_that_would_lie_outside_is_refused(packed: Path, tmp_path: Path, name: str) -> None:
    entry = zipfile.ZipInfo("x")
    entry.filename = entry.orig_filename = name
    changed = Path(shutil.copy(packed, tmp_path / "changed"))
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr(entry, b"x")
    assert refusal(changed, tmp_path / "out") is Refusal.ARCHIVE_UNREADABLE


def test_a_size_that_the_list_lies_about_is_found(packed: Path, tmp_path: Path) -> None:
    path = tmp_path / "lying"
    content = bytearray(packed.read_bytes())
    at = content.rindex(b"net.onnx") - 46 + 20  # sizes in the central directory
    with Archive(packed) as archive:
        size = archive.manifest() and bundle_of(packed).manifest.files["net.onnx"].size_bytes
    assert int.from_bytes(content[at : at + 4], "little") == size
    content[at : at + 8] = (2**31).to_bytes(4, "little") * 2
    path.write_bytes(content)
    assert refusal(path, tmp_path / "out") is Refusal.HASH_WRONG


def test_metadata_is_given_out_by_its_plain_name_alone(packed: Path) -> None:
    with Archive(packed) as archive:
        assert archive.metadata("timestamp.json") is not None
        for name in ("../manifest.json", "timestamp.json/../../manifest.json", "", "root_history/1.root.json"):
            assert archive.metadata(name) is None


def test_nothing_is_written_over_what_is_there(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with Archive(packed) as archive, pytest.raises(FileExistsError):
        archive.unpack(parse(archive.manifest()), tmp_path / "out")


def listing(path: Path, *, is_large: bool) -> Path:
    """Write a zip that is nothing but a list of entries, far more than a bundle has."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0)
    entries = b"".join(entry + b"%04x" % number for number in range(20_000))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 20_000, 20_000, len(entries), 0, 0)
    if is_large:
        large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 20_000, 20_000, len(entries), 0)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(entries), 1)
        end = large + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(entries + end)
    return path


@pytest.mark.parametrize("is_large", [False, True])
def test_a_list_without_end_is_refused_before_anybody_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    path = listing(tmp_path / "a", is_large=is_large)
    with zipfile.ZipFile(path) as file:
        assert len(file.infolist()) == 20_000
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(BundleRefused, match="20000 entries"):
        Archive(path)


def test_a_list_that_says_less_of_itself_than_it_has_is_refused_by_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = listing(tmp_path / "a", is_large=False)
    content = bytearray(path.read_bytes())
    content[-14:-10] = struct.pack("<2H", 1, 1)
    path.write_bytes(content)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(BundleRefused, match="1 entries in a list of"):
        Archive(path)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_a_disk_that_fails_is_no_fault_of_the_bundle(
    packed: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with Archive(packed) as archive:
        monkeypatch.setattr(archive._zip, "read", fail)
        with pytest.raises(OSError, match=os.strerror(number)):
            archive.manifest()
    monkeypatch.setattr("pathlib.Path.open", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        Archive(packed)


@pytest.mark.parametrize("place", [2**62, 2**64 - 1])
def test_a_file_that_lies_nowhere_is_refused(packed: Path, tmp_path: Path, place: int) -> None:
    shutil.copyfile(packed, tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a", "a") as out:
        out.getinfo("net.onnx").header_offset = place
        out.writestr("metadata/more.json", b"{}")
    assert refusal(tmp_path / "a", tmp_path / "out") is Refusal.HASH_WRONG


def test_a_list_that_lies_outside_of_the_file_is_the_files_fault(packed: Path, tmp_path: Path) -> None:
    content = bytearray(packed.read_bytes())
    content[-6:-2] = struct.pack("<L", len(content) * 2)
    (tmp_path / "a").write_bytes(content)
    assert refusal(tmp_path / "a", tmp_path / "out") is Refusal.ARCHIVE_UNREADABLE
    assert refusal(tmp_path / "nowhere", tmp_path / "out") is Refusal.ARCHIVE_UNREADABLE
