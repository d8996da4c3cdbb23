"""What of each device waits for the hub, as the presence message tells it."""

from telemed.topics import Up

from edge_node.buffer.outbox import StreamState
from edge_node.uplink.device_sync import behind

NOW_NS = 1_800_000_000 * 10**9
S_NS = 10**9


def state(stream: str, waiting: int, age_s: float) -> StreamState:
    return StreamState(stream, 1, 101 + waiting, 100, NOW_NS - int(age_s * S_NS) if waiting else 0)


def test_a_device_that_waits_is_told_with_its_oldest_record() -> None:
    streams = {
        Up.VITALS: [state("mon-b01/numeric", 180, 180), state("mon-b02/numeric", 0, 0)],
        Up.WAVES: [state("mon-b01/wave", 200, 200)],
    }
    (row,) = behind(streams, NOW_NS)
    assert (row.device, row.numerics, row.waves) == ("mon-b01", 180, 200)
    assert row.oldest_unix_ns == NOW_NS - 200 * S_NS


def test_what_is_merely_on_its_way_does_not_wait() -> None:
    streams = {Up.VITALS: [state("mon-b01/numeric", 2, 2)], Up.WAVES: [state("mon-b01/wave", 60, 70)]}
    assert behind(streams, NOW_NS) == []
    assert len(behind({Up.VITALS: [state("mon-b01/numeric", 2, 4)]}, NOW_NS)) == 1


def test_streams_of_two_lives_of_the_file_are_one_device() -> None:
    streams = {Up.VITALS: [state("mon-b01/numeric", 5, 50), state("mon-b01/numeric", 7, 90)]}
    (row,) = behind(streams, NOW_NS)
    assert (row.numerics, row.oldest_unix_ns) == (12, NOW_NS - 90 * S_NS)
