"""A person erased at the hub is gone from the node's file, from its memory and from its pages at the next sync."""

from pathlib import Path

import pytest
from telemed.v1 import event_pb2

from edge_node.buffer.store import Buffer
from edge_node.sitelog import SiteLog
from tests.telemed.test_erasure import WORD, log, ordered

pytestmark = pytest.mark.anyio


def gone(seq: int, person: str) -> event_pb2.OrderedEvent:
    return ordered(seq, "person", person, person_erased=event_pb2.PersonErased(reason="retention"))


def both() -> list[event_pb2.OrderedEvent]:
    """The events of two persons, in one order."""
    rows = [*log("p"), *log("q")]
    for seq, row in enumerate(rows, 1):
        row.site_seq, row.event.event_id = seq, f"e{seq}"
    return rows


async def test_no_word_is_left_in_the_file_and_the_other_person_is_whole(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path)
    try:
        rows = both()
        await buffer.apply_page(event_pb2.EventPage(events=rows))
        await buffer.apply_page(event_pb2.EventPage(events=[gone(len(rows) + 1, "p")]))
        stored = await buffer.ordered_events()
        assert [row.site_seq for row in stored] == list(range(1, len(rows) + 2))
        holding = [row.site_seq for row in stored if WORD.encode() in row.SerializeToString()]
        assert holding == [7, 9, 10, 11, 12]
    finally:
        buffer.close()


async def test_an_erasure_that_the_hub_refused_takes_nothing_away(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path)
    try:
        site, rows = SiteLog(buffer), both()
        refused = gone(len(rows) + 1, "p")
        refused.refused, refused.refusal = True, "refused-rights"
        await buffer.apply_page(event_pb2.EventPage(events=[*rows, refused]))
        site.take_ordered([*rows, refused])
        before = [row.SerializeToString() for row in rows]
        assert [row.SerializeToString() for row in (await buffer.ordered_events())[:-1]] == before
        assert set(site.roster.persons) == {"p", "q"}
    finally:
        buffer.close()


async def test_the_running_node_forgets_the_person_too(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path)
    try:
        site = SiteLog(buffer)
        told: list[str] = []
        site.on_change.append(lambda events: told.extend(event.aggregate_type for event in events))
        rows = both()
        site.take_ordered(rows)
        assert set(site.roster.persons) == {"p", "q"}
        site.take_ordered([gone(len(rows) + 1, "p")])
        assert set(site.roster.persons) == {"q"}
        assert not [row for row in site.ordered("referral")[:2] if WORD.encode() in row.SerializeToString()]
        assert told[-1] == "person"
    finally:
        buffer.close()
