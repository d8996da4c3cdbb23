"""What becomes of every file of the shared data: `fates.csv`, written by hand.

Each is sent byte for byte as it lies in its file, under the class and syntax of its meta information, behind the file
whose UID it bears too, if there is one.
"""

import asyncio
import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from PIL import Image

from edge_node.imaging import part10
from edge_node.imaging.picture import LIMIT_BYTES, LONGEST_SIDE_PX
from edge_node.imaging.pictures import picture_of
from tests.conftest import SHARED_DATA
from tests.edge_node.imaging.conftest import Receivers, receiving
from tests.edge_node.imaging.test_elements import FILES, raw_of
from tests.fakes.dicom import ACCEPTED, BareScu

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
FOLDER = SHARED_DATA / "dicom"
TRIED = (
    *("GH227", "US1_UNCR", "CT1_J2KI", "HTJ2K", "emri_small_big", "mr_transfer_syntaxes/7", "GH184", "liver"),
    *("NM1_JPLY", "MultiframeWindowing", "65535"),
)
"""One of each sort of pixels: a process each."""
with Path(__file__).with_name("fates.csv").open(encoding="utf-8") as _table:
    FATES = list(csv.DictReader(_table))


@pytest.fixture(scope="module")
def receivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receivers]:
    with receiving(tmp_path_factory.mktemp("fates") / "images") as found:
        yield found


def meta_of(path: Path) -> pydicom.dataset.FileMetaDataset:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    file = io.BytesIO(content)
    pydicom.filereader.read_preamble(file, force=True)
    return pydicom.filereader._read_file_meta_info(file)


def sent(receivers: Receivers, path: Path) -> str:
    """Send a file; return the status of the answer in hex digits."""
    (data, syntax), meta = raw_of(path), meta_of(path)
    sop_class = str(meta.MediaStorageSOPClassUID)
    with BareScu.at(receivers.port) as scu:
        assert scu.associate(sop_class, syntax) == ACCEPTED
        return f"{scu.store(sop_class, str(meta.MediaStorageSOPInstanceUID), data):04X}"


def test_the_table_has_every_shared_file() -> None:
    assert [fate["file"] for fate in FATES] == [str(path.relative_to(FOLDER)) for path in sorted(FILES)]


@pytest.mark.parametrize("fate", FATES, ids=lambda fate: fate["file"])
def test_a_file_meets_its_fate_and_its_bytes_lie_on_the_disk_as_they_came(
    receivers: Receivers, fate: dict[str, str]
) -> None:
    if fate["after"]:
        assert sent(receivers, FOLDER / fate["after"]) == "0000"
    path = FOLDER / fate["file"]
    data, syntax = raw_of(path)
    uid = str(meta_of(path).MediaStorageSOPInstanceUID)
    assert sent(receivers, path) == fate["status"]
    kept = [(row, part10.parted(receivers.file(row["sha256"]))) for row in receivers.rows()]
    found = [(row, file) for row, file in kept if (row["sop_instance_uid"], file.data) == (uid, data)]
    assert len(found) == (fate["status"] != "A900")
    for row, file in found:
        assert file.transfer_syntax == syntax
        assert row["fault"] == fate["fault"]


@pytest.mark.parametrize("kind", ["made", "none"])
def test_a_picture_is_made_where_a_decoder_has_it_and_refused_cleanly_where_not(kind: str) -> None:
    some = [fate["file"] for fate in FATES if fate["picture"] == kind and any(name in fate["file"] for name in TRIED)]
    assert len(some) > 3

    async def make() -> list[bytes | None]:
        return [await picture_of(FOLDER / name) for name in some]

    for name, made in zip(some, asyncio.run(make()), strict=True):
        assert (made is not None) == (kind == "made"), name
        if made is not None:
            image = Image.open(io.BytesIO(made))
            assert image.format == "JPEG"
            assert max(image.size) <= LONGEST_SIDE_PX, name
            assert len(made) <= LIMIT_BYTES, name
            assert len(set(image.convert("L").tobytes())) > 1, name
