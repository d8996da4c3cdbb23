"""The file around a data set, and the folder of objects."""

import io
import os
from pathlib import Path

import pydicom
import pytest

from edge_node.imaging import part10
from edge_node.imaging.objects import Objects
from tests.fakes.dicom import CT, EXPLICIT, Picture, data_set


def test_a_file_is_read_by_others_and_says_nothing_but_what_the_data_set_is() -> None:
    data = data_set(Picture())
    file = part10.head(CT, "1.2.3.4.1", EXPLICIT) + data
    read = pydicom.dcmread(io.BytesIO(file))
    assert file[:128] == bytes(128)
    assert file.endswith(data)
    assert (read.file_meta.MediaStorageSOPClassUID, read.file_meta.MediaStorageSOPInstanceUID) == (CT, "1.2.3.4.1")
    assert read.file_meta.FileMetaInformationGroupLength == len(file) - len(data) - 144
    assert read.file_meta.ImplementationVersionName == "YUANZHEN"
    assert read.PatientID == "P-1"


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34"])
def test_a_file_that_is_taken_apart_gives_what_it_was_made_of(uid: str) -> None:
    data = data_set(Picture())
    parted = part10.parted(part10.head(CT, uid, EXPLICIT) + data)
    assert (parted.sop_class_uid, parted.sop_instance_uid, parted.transfer_syntax) == (CT, uid, EXPLICIT)
    assert parted.data == data


def test_files_of_others_are_taken_apart_as_pydicom_does(shared_data: Path) -> None:
    paths = sorted(shared_data.glob("dicom/**/*.dcm"))
    assert len(paths) > 50
    for path in paths:
        content = path.read_bytes()
        file = io.BytesIO(content)
        pydicom.filereader.read_preamble(file, force=True)
        meta = pydicom.filereader._read_file_meta_info(file)
        parted = part10.parted(content)
        assert parted.transfer_syntax == meta.TransferSyntaxUID, path.name
        assert parted.data == content[file.tell() :], path.name


@pytest.mark.parametrize("file", [b"", bytes(200), bytes(128) + b"DICM", bytes(128) + b"DICM" + data_set(Picture())])
def test_what_is_no_file_of_this_format_is_refused(file: bytes) -> None:
    with pytest.raises(ValueError, match=r"DICOM|meta|syntax"):
        part10.parted(file)


def test_an_object_is_named_by_its_hash_and_nothing_is_left_half_way(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "images")
    sha256 = objects.put(b"head", b"data")
    assert objects.put(b"head", b"data") == sha256
    assert objects.path(sha256).read_bytes() == b"headdata"
    assert objects.path(sha256).stat().st_mode & 0o077 == 0
    assert list(objects.whole()) == [objects.path(sha256)]
    assert list((tmp_path / "images" / "incoming").iterdir()) == []


def test_what_the_disk_does_not_take_is_told_and_leaves_nothing_half_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = Objects(tmp_path / "images")

    def fails(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge_node.imaging.objects.os.fdatasync", fails)
    with pytest.raises(OSError, match="space"):
        objects.put(b"head", b"data")
    assert list((tmp_path / "images" / "incoming").iterdir()) == []


def test_what_was_half_way_is_swept_and_what_is_whole_stays(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "images")
    sha256 = objects.put(b"head", b"data")
    (tmp_path / "images" / "incoming" / "half").write_bytes(b"ha")
    assert objects.sweep_incoming() == 1
    assert [path.name for path in (tmp_path / "images").rglob("*") if path.is_file()] == [sha256]


def test_what_somebody_is_putting_is_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects, swept, replace = Objects(tmp_path / "images"), [], Path.replace

    def sweep(_descriptor: int) -> None:
        swept.append(Objects(tmp_path / "images").sweep_incoming())

    def sweep_and_replace(path: Path, target: Path) -> Path:
        sweep(0)
        return replace(path, target)

    monkeypatch.setattr("edge_node.imaging.objects.os.fdatasync", sweep)
    monkeypatch.setattr(Path, "replace", sweep_and_replace)
    first, again = objects.put(b"head", b"data"), objects.put(b"head", b"data")
    assert swept == [0, 0, 0]
    assert first == again
    assert objects.path(first).read_bytes() == b"headdata"


def test_the_share_of_the_disk_counts_what_is_to_come(tmp_path: Path) -> None:
    objects, disk = Objects(tmp_path / "images"), os.statvfs(tmp_path)
    assert 0 < objects.used_share() < 1
    assert objects.used_share(disk.f_bavail * disk.f_frsize) == pytest.approx(1, abs=0.01)
