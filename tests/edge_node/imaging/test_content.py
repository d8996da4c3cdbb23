"""What the node keeps of an object: names, patient, shape, and why no picture can be made of it."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_node.imaging import content
from edge_node.imaging.content import Content, NotMatching, NotUnderstood, announced
from edge_node.imaging.inflating import RATIO_LIMIT, SMALL_BYTES, Bomb, inflated
from edge_node.imaging.judged import NOT_MATCHING, NOT_UNDERSTOOD, status_of
from edge_node.imaging.reading import read
from tests.edge_node.imaging.test_elements import raw_of
from tests.fakes.dicom import CT, DEFLATED, EXPLICIT, IMPLICIT, Picture, data_set, element, implicit, item, nested

LIMIT = 64 * 1024 * 1024
JPEG = "1.2.840.10008.1.2.4.50"
END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def test_an_image_is_known_by_its_names_its_patient_and_its_shape() -> None:
    found = read(data_set(Picture(before=element(0x00081030, "LO", b"Head"))), EXPLICIT, LIMIT)
    assert found == Content(
        sop_class_uid=CT,
        sop_instance_uid="1.2.3.4.1",
        study_uid="1.2.3",
        series_uid="1.2.3.4",
        patient_id="P-1",
        patient_name="Gu^Yu",
        modality="CT",
        study_description="Head",
        instance_number="1",
        rows=4,
        columns=4,
        frames=1,
    )


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("chrGB2312.dcm", "Zhang^XiaoDong=张^小东="),
        ("chrArab.dcm", "قباني^لنزار"),
        ("chrFren.dcm", "Buc^Jérôme"),
        ("chrH31.dcm", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_names_are_read_in_their_character_sets(file: str, name: str, shared_data: Path) -> None:
    found = read(*raw_of(shared_data / "dicom/fo_dicom" / file), LIMIT)
    assert found.patient_name == name


def test_text_that_cannot_be_read_or_shown_is_marked_and_never_refused() -> None:
    odd = element(0x00080005, "CS", b"ISO_IR 999") + element(0x00081030, "LO", b"a\x07b\xff\x1b$Bx" + b"y" * 900)
    found = read(data_set(Picture(before=odd)), EXPLICIT, LIMIT)
    assert found.study_description.startswith("ab")
    assert len(found.study_description) <= content.TEXT_LIMIT_CHARS
    assert found.study_description.isprintable()


@pytest.mark.parametrize(
    ("picture", "fault"),
    [
        (Picture(), ""),
        (Picture(pixels=bytes(30)), "pixels-do-not-fit"),
        (Picture(rows=65535, columns=65535), "pixels-do-not-fit"),
        (Picture(rows=0), "pixels-do-not-fit"),
        (Picture(before=element(0x00280008, "IS", b"2")), "pixels-do-not-fit"),
        (Picture(pixels=bytes(64), before=element(0x00280008, "IS", b"2")), ""),
    ],
)
def test_pixels_must_fit_rows_columns_and_frames(picture: Picture, fault: str) -> None:
    assert read(data_set(picture), EXPLICIT, LIMIT).fault == fault


def test_pixels_that_are_cut_are_flagged_and_everything_else_is_known() -> None:
    found = read(data_set(Picture())[:-10], EXPLICIT, LIMIT)
    assert (found.fault, found.rows, found.patient_id) == ("cut", 4, "P-1")


def test_an_object_without_pixels_says_so() -> None:
    data = data_set(Picture())
    found = read(data[: data.index(struct.pack("<HH", 0x7FE0, 0x0010))], EXPLICIT, LIMIT)
    assert (found.fault, found.frames) == ("no-pixels", 0)


@pytest.mark.parametrize(
    ("pixels", "fault"),
    [
        (item(b"") + item(b"\xff\xd8ab") + END, ""),
        (item(b"") + item(b"\xff\xd8ab"), "cut"),
        (item(b"") + END, "cut"),
    ],
)
def test_packed_pixels_need_a_fragment_a_frame_and_an_end(pixels: bytes, fault: str) -> None:
    data = data_set(Picture())
    head = data[: data.index(struct.pack("<HH", 0x7FE0, 0x0010))]
    assert read(head + element(0x7FE00010, "OB", b"", 0xFFFFFFFF) + pixels, JPEG, LIMIT).fault == fault


def test_pixels_as_they_are_do_not_fit_a_packed_syntax() -> None:
    assert read(data_set(Picture()), JPEG, LIMIT).fault == "pixels-do-not-fit"


def test_what_breaks_off_among_its_elements_is_malformed_and_still_known() -> None:
    data = data_set(Picture())
    found = read(data[: data.index(struct.pack("<HH", 0x0028, 0x0011)) + 4], EXPLICIT, LIMIT)
    assert (found.fault, found.sop_instance_uid) == ("malformed", "1.2.3.4.1")


def test_a_deflated_data_set_is_read_and_a_bomb_or_rubbish_is_not_understood() -> None:
    plain = data_set(Picture())
    assert read(deflated(plain), DEFLATED, LIMIT).patient_id == "P-1"
    bomb = deflated(plain + bytes(RATIO_LIMIT * SMALL_BYTES))
    for data in (bomb, b"rubbish", deflated(plain)[:-20], b""):
        with pytest.raises(NotUnderstood, match="deflated") as refusal:
            read(data, DEFLATED, LIMIT)
        assert status_of(refusal.value) == NOT_UNDERSTOOD


def test_unpacking_ends_at_the_limit_or_at_two_hundred_times_the_size() -> None:
    packed = deflated(bytes(10 * SMALL_BYTES))
    assert inflated(deflated(bytes(SMALL_BYTES)), LIMIT) == bytes(SMALL_BYTES)
    with pytest.raises(Bomb):
        inflated(packed, LIMIT)
    with pytest.raises(Bomb):
        inflated(deflated(bytes(range(256)) * 100), 25_000)


def test_each_packed_byte_is_looked_at_a_few_times_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    given_bytes, make = list[int](), zlib.decompressobj

    @dataclass
    class Counting:
        unpacker: Any

        def decompress(self, data: bytes, most_bytes: int) -> bytes:
            given_bytes.append(len(data))
            return bytes(self.unpacker.decompress(data, most_bytes))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.unpacker, name)

    monkeypatch.setattr(zlib, "decompressobj", lambda wbits: Counting(make(wbits)))
    packed = zlib.compressobj(0, wbits=-zlib.MAX_WBITS)
    stored = packed.compress(bytes(16 * SMALL_BYTES)) + packed.flush()
    assert inflated(stored, 32 * SMALL_BYTES) == bytes(16 * SMALL_BYTES)
    assert sum(given_bytes) < 2 * len(stored)


def test_sequences_without_bounds_are_not_understood() -> None:
    for is_open in (True, False):
        with pytest.raises(NotUnderstood, match="too-deep"):
            read(data_set(Picture(before=nested(100, is_open=is_open))), EXPLICIT, LIMIT)


@pytest.mark.parametrize("uid", ["../../etc/x", "1..2", "a.b", "1." * 40 + "1", "1.2/3", "1.2 3", "-1.2"])
def test_a_uid_that_is_none_is_refused_wherever_it_stands(uid: str) -> None:
    for picture in (Picture(uid=uid), Picture(study=uid), Picture(series=uid), Picture(sop_class=uid)):
        with pytest.raises(NotMatching) as refusal:
            read(data_set(picture), EXPLICIT, LIMIT)
        assert status_of(refusal.value) == NOT_MATCHING
    with pytest.raises(NotMatching):
        announced(read(element(0x00100020, "LO", b"P1"), EXPLICIT, LIMIT), CT, uid)


def test_an_object_is_what_it_was_announced_as_or_is_refused() -> None:
    found = read(data_set(Picture()), EXPLICIT, LIMIT)
    assert announced(found, CT, "1.2.3.4.1") == found
    for sop_class, uid in ((CT, "1.2.3.4.2"), (CT + ".1", "1.2.3.4.1")):
        with pytest.raises(NotMatching, match="other-object"):
            announced(found, sop_class, uid)


def test_an_object_that_does_not_name_itself_has_the_names_that_were_announced() -> None:
    found = announced(read(implicit(0x00100020, b"P1"), IMPLICIT, LIMIT), CT, "1.2.3")
    assert (found.sop_class_uid, found.sop_instance_uid, found.study_uid) == (CT, "1.2.3", "")
