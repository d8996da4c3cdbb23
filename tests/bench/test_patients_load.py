"""What many patients' edges send, put together as the uplink does it."""

from collections import Counter

import pytest
from telemed import history, wire
from telemed.topics import Up

from bench.patients_load import STEPS, Asked, Edge, Load
from edge_node.buffer.delivery import BLOCK_RECORDS
from edge_node.uplink.schedule import SEGMENT_BYTES

pytestmark = pytest.mark.anyio


async def test_every_value_is_sent_once_and_beds_share_messages_where_nobody_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[tuple[str, Up, list[wire.Record]]] = []

    def publish(edge: Edge, up: Up, container: bytes) -> None:
        is_whole = container.startswith(history.MAGIC)
        found = [record for record, _ in history.decode(container)] if is_whole else wire.decode(container)
        sent.append((edge.user, up, found))

    monkeypatch.setattr(Edge, "publish", publish)
    load = Load([Edge("looked at", ""), Edge("other", "")], Asked(patients=20, seconds=1, sent="together", looked_at=1))
    load.make_blocks()
    await load.run()
    apart = [records for edge, _, records in sent if edge == "looked at"]
    assert [len(records) for records in apart] == [1] * 20
    together = [records for edge, up, records in sent if edge == "other" and up is Up.VITALS]
    assert 1 < len(together) < 10
    assert all(sum(len(each.payload) + wire.HEAD_BYTES for each in records) <= SEGMENT_BYTES for records in together)
    assert Counter((each.stream, each.seq) for records in together for each in records) == {
        (f"mon-{bed:02d}/numeric", 2): 1 for bed in range(10)
    }
    assert load.sent == sum(len(records) for _, _, records in sent)

    sent.clear()
    for step in range(BLOCK_RECORDS * STEPS):
        load._send_blocks(step)
    assert sorted((edge, up, records[0].stream) for edge, up, records in sent) == [
        ("other", Up.WAVES, f"mon-{bed:02d}/wave") for bed in range(10)
    ]
    assert {tuple(each.seq for each in records) for _, _, records in sent} == {tuple(range(2, 2 + BLOCK_RECORDS))}
