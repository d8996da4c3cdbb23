"""The lines between node and consult process."""

import pytest

from edge_node.consult.pipe import Configure, Forget, Line, Permit, Pressed, Ready, Step, Vitals, pack, unpack


@pytest.mark.parametrize(
    "line",
    [
        Configure({"B01": "/dev/video0", "": "x.mp4"}, "alsa:default", ["turn:10.0.0.1"], "480p"),
        Permit("c1", "B01"),
        Forget("c1"),
        Step("c1", "offer", '{"sdp": "v=0\\r\\n\\u4e2d"}'),
        Vitals("B01", "{}"),
        Pressed(is_pressed=True),
        Ready(12),
    ],
)
def test_a_line_comes_out_as_it_went_in(line: Line) -> None:
    raw = pack(line)
    assert raw.count(b"\n") == 1
    assert unpack(raw) == line


@pytest.mark.parametrize("raw", [b"", b"\xff", b"{}", b'{"type": "permit"}', b'{"type": "rm"}', b"[]", b"1"])
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a line"):
        unpack(raw)
