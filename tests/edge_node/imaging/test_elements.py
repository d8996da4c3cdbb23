"""The walk through a data set that a stranger sent: the same elements as pydicom finds, and nothing beyond bounds."""

import contextlib
import gzip
import io
import struct
import time
import warnings
from pathlib import Path

import pydicom
import pytest

from edge_node.imaging import elements
from edge_node.imaging.elements import DEEPEST, Malformed, TooDeep, fragments, walked
from edge_node.imaging.syntax import EXPLICIT_BIG, IMPLICIT_LITTLE, Syntax, syntax_of
from tests.conftest import SHARED_DATA
from tests.fakes.dicom import Picture, data_set, element, implicit, item, nested

FILES = sorted(SHARED_DATA.glob("dicom/**/*.dcm")) + sorted(SHARED_DATA.glob("dicom/**/*.dcm.gz"))
WRONG_LENGTH = "GH179A.dcm"
"""Items whose lengths do not fit, which pydicom reads by another length."""
DEFLATED_WHOLE = "Issue1097_FailToOpenDeflatedFileWithSQ.dcm"
IN_IMPLICIT = Syntax(is_implicit=True)


def raw_of(path: Path) -> tuple[bytes, str]:
    """Return the data set of a file as it lies there, and its transfer syntax."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    file = io.BytesIO(content)
    pydicom.filereader.read_preamble(file, force=True)
    meta = pydicom.filereader._read_file_meta_info(file)
    return content[file.tell() :], str(meta.TransferSyntaxUID)


PLAIN = [path for path in FILES if path.name not in (WRONG_LENGTH, "GH227.dcm", DEFLATED_WHOLE)]


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.name)
def test_the_outermost_elements_of_every_shared_file_are_those_that_pydicom_finds(path: Path) -> None:
    data, uid = raw_of(path)
    syntax = syntax_of(uid)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pydicom.filereader.read_dataset(
            io.BytesIO(data), syntax.is_implicit, syntax.is_little, stop_when=lambda tag, _r, _l: tag > 0x7FE00010
        )
    assert [each.tag for each in walked(data, syntax)] == [int(tag) for tag in found._dict]


def test_lengths_that_do_not_fit_are_malformed_after_what_came_before() -> None:
    data, uid = raw_of(next(path for path in FILES if path.name == WRONG_LENGTH))
    with pytest.raises(Malformed):
        list(walked(data, syntax_of(uid)))
    assert 0x00080018 in {each.tag for each in _until_malformed(data, uid)}


def _until_malformed(data: bytes, uid: str) -> list[elements.Element]:
    found: list[elements.Element] = []
    with contextlib.suppress(Malformed):
        found.extend(walked(data, syntax_of(uid)))
    return found


def test_a_walk_through_what_was_made_by_hand_finds_where_each_value_lies() -> None:
    data = data_set(Picture())
    found = {each.tag: data[each.at : each.at + each.size_bytes] for each in walked(data, Syntax())}
    assert found[0x00080018] == b"1.2.3.4.1\0"
    assert found[0x7FE00010] == bytes(range(32))


@pytest.mark.parametrize("is_open", [True, False], ids=["without told length", "with told length"])
def test_sequences_are_followed_sixteen_deep_and_no_further(is_open: bool) -> None:
    assert [each.tag for each in walked(nested(DEEPEST, is_open=is_open), Syntax())] == [0x00081140]
    with pytest.raises(TooDeep):
        list(walked(nested(DEEPEST + 1, is_open=is_open), Syntax()))


def test_ten_thousand_sequences_within_each_other_cost_nothing() -> None:
    deep = nested(10_000, is_open=True)
    began_s = time.process_time()
    with pytest.raises(TooDeep):
        list(walked(deep, Syntax()))
    assert time.process_time() - began_s < 0.1


def test_elements_without_end_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "MOST_ELEMENTS", 100)
    assert len(list(walked(element(0x00091001, "LO", b"") * 100, Syntax()))) == 100
    with pytest.raises(TooDeep):
        list(walked(element(0x00091001, "LO", b"") * 101, Syntax()))


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\0\x16",
        element(0x00080016, "UI", b"1.2", 200),
        element(0x00080016, "SQ", b"1.2", 200),
        element(0x00080016, "?!", b"1.2"),
        element(0x00081140, "SQ", element(0x00080016, "UI", b"1.2")),
        element(0x00081140, "SQ", item(element(0x00080016, "UI", b"1.2", 8))),
        element(0x00081140, "SQ", item(b"")[:-1] + b"\1"),
        element(0x00081140, "SQ", b"", 0xFFFFFFFF),
        struct.pack("<HHL", 0xFFFE, 0xE000, 0),
        struct.pack("<HHL", 0xFFFE, 0xE0DD, 0),
    ],
    ids=[
        "cut head", "cut value", "cut sequence", "no representation", "no item", "value over its item",
        "item over its sequence", "no end", "item outside", "end outside",
    ],
)  # fmt: skip
def test_what_is_no_data_set_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        list(walked(data, Syntax()))


def test_every_beginning_of_a_data_set_is_read_or_malformed() -> None:
    data = data_set(Picture(before=nested(3, is_open=True) + nested(3, is_open=False)))
    for end in range(len(data)):
        _until_malformed(data[:end], "1.2.840.10008.1.2.1")


def test_an_implicit_data_set_follows_the_sequences_that_the_dictionary_knows() -> None:
    inner = implicit(0x00081155, b"1.2")
    data = implicit(0x00081140, item(inner)) + implicit(0x00091001, b"anything")
    assert [each.tag for each in walked(data, syntax_of(IMPLICIT_LITTLE))] == [0x00081140, 0x00091001]
    deep = b""
    for _ in range(DEEPEST + 1):
        deep = implicit(0x00081140, item(deep))
    with pytest.raises(TooDeep):
        list(walked(deep, IN_IMPLICIT))


def test_what_is_of_unknown_kind_without_told_length_is_written_implicitly_inside() -> None:
    end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    data = element(0x00091001, "UN", b"", 0xFFFFFFFF) + item(implicit(0x00091002, b"ab")) + end
    assert [each.tag for each in walked(data + element(0x00100020, "LO", b"P1"), Syntax())] == [0x00091001, 0x00100020]


def test_pixels_in_fragments_inside_an_item_are_passed_over() -> None:
    end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    icon = element(0x7FE00010, "OB", b"", 0xFFFFFFFF) + item(b"") + item(b"\xff\xd8xx") + end
    data = element(0x00880200, "SQ", item(icon)) + element(0x00100020, "LO", b"P1")
    assert [each.tag for each in walked(data, Syntax())] == [0x00880200, 0x00100020]


def test_big_endian_is_read_as_such() -> None:
    data = struct.pack(">HH2sH", 0x0010, 0x0020, b"LO", 2) + b"P1"
    assert [each.size_bytes for each in walked(data, syntax_of(EXPLICIT_BIG))] == [2]


def test_fragments_are_counted_without_their_table_and_cut_ones_found() -> None:
    end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    whole = item(b"") + item(b"ab") + item(b"cd") + end
    assert fragments(whole, 0) == 2
    assert fragments(whole[:-8], 0) is None
    assert fragments(item(b"") + item(b"abcd")[:-2], 0) is None
    assert fragments(item(b"") + element(0x00080016, "UI", b"1.2"), 0) is None


def test_fragments_without_end_are_not_counted_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    monkeypatch.setattr(elements, "MOST_ELEMENTS", 100)
    assert fragments(item(b"") * 101 + end, 0) == 100
    assert fragments(item(b"") * 102 + end, 0) is None
