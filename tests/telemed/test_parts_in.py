"""A multipart body comes apart in the same way wherever its pieces are cut, and what is none is refused."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemed.parts_in import HEAD_LIMIT_BYTES, OUTSIDE_LIMIT_BYTES, Begin, End, NoParts, PartsIn

FILES = (b"", b"\r\n--", b"--B", b"a\r\n\r\nb", bytes(range(256)))
HEAD = b"--B \t\r\nX: y\r\nContent-Type:  Application/DICOM; transfer-syntax=1.2\r\n\r\n"
HEADLESS = b"--B\r\n\r\n"
BODY = b"".join(
    (
        b"a preamble\r\n",
        *(HEAD + file + b"\r\n" for file in FILES[:2]),
        *(HEADLESS + file + b"\r\n" for file in FILES[2:]),
        b"--B--\r\nand an epilogue --B",
    )
)


def taken(pieces: Iterator[bytes] | Sequence[bytes], boundary: str = "B") -> list[tuple[str, bytes]]:
    """Return type and content of each part."""
    parts, found = PartsIn(boundary), list[tuple[str, bytes]]()
    kind, content = "", b""
    for piece in pieces:
        for event in parts.feed(piece):
            if isinstance(event, Begin):
                kind, content = event.content_type, b""
            elif isinstance(event, End):
                found.append((kind, content))
            else:
                content += event
    parts.close()
    return found


@given(st.lists(st.integers(0, len(BODY)), max_size=8))
def test_parts_are_the_same_wherever_the_body_is_cut(places: list[int]) -> None:
    ends = sorted({0, *places, len(BODY)})
    pieces = [BODY[begin:end] for begin, end in pairwise(ends)]
    assert taken(pieces) == [("application/dicom" if at < 2 else "", file) for at, file in enumerate(FILES)]


def test_parts_are_the_same_byte_by_byte() -> None:
    assert [file for _, file in taken([BODY[at : at + 1] for at in range(len(BODY))])] == list(FILES)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--B\r\n\r\nabc",
        b"--B\r\n\r\nabc\r\n--B",
        b"--B\r\n\r\nabc\r\n--Bx\r\n\r\nabc\r\n--B--",
        b"--B\r\n" + b"x" * 2 * HEAD_LIMIT_BYTES,
        b"--B" + b" " * 2 * HEAD_LIMIT_BYTES,
    ],
)
def test_what_is_no_multipart_body_is_refused(body: bytes) -> None:
    with pytest.raises(NoParts):
        taken([body[:5], body[5:]])


@pytest.mark.parametrize("boundary", ["", "a" * 71, "a\r\nb", "ends with space ", "\u8fdc"])
def test_what_is_no_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(NoParts):
        PartsIn(boundary)


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("step", [1, 7, 1000, 2**20])
def test_little_may_stand_before_and_after_the_parts(is_before: bool, step: int) -> None:
    def cut(size_bytes: int) -> list[bytes]:
        part, outside = b"--B\r\n\r\na\r\n--B--", bytes(size_bytes - 2)
        body = outside + b"\r\n" + part if is_before else part + outside
        return [body[at : at + step] for at in range(0, len(body), step)]

    assert taken(cut(OUTSIDE_LIMIT_BYTES - 2)) == [("", b"a")]
    with pytest.raises(NoParts, match="too much before the first boundary, or after the last"):
        taken(cut(OUTSIDE_LIMIT_BYTES + 20))


def test_names_of_heads_are_read_without_regard_to_case() -> None:
    (begin, *_) = PartsIn("B").feed(b"--B\r\nCONTENT-type: A/b\r\nX: y\r\n\r\n")
    assert begin == Begin("a/b")


def test_little_is_held_of_a_long_part() -> None:
    parts = PartsIn("B")
    list(parts.feed(b"--B\r\n\r\n"))
    for _ in range(100):
        list(parts.feed(bytes(10_000)))
        assert len(parts._held) < 100
