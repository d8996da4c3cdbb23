"""The intake end to end: real broker, real database, an edge that resends until the receipt."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from telemed import history
from telemed.audit import sign
from telemed.audit_seal import open_seal
from telemed.audit_wire import head_message
from telemed.errors import Code
from telemed.history import PACKER
from telemed.topics import Up
from telemed.v1 import uplink_pb2
from telemed.wire import Kind, encode

from cloud_hub.access.audit_heads import AuditHeads
from cloud_hub.ingest.datagram_recent import Came, Recent
from cloud_hub.store import events
from cloud_hub.store.schema import care_dead_letter, care_record, record, samples_dead_letter
from edge_node.buffer.delivery import Delivery
from edge_node.uplink.pump import receipt_of
from tests.cloud_hub.ingest.conftest import Hub
from tests.fakes.containers import EPOCH, alarm, care, numeric, of_schema, sealed, wave

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]


def is_stored(hub: Hub, alarms: int) -> bool:
    return any(item.stream == "node/alarm" and item.contig == alarms for item in hub.edge.receipts)


async def test_everything_sent_is_stored_once_receipted_and_shown(hub: Hub) -> None:
    hub.edge.send(Up.VITALS, *(numeric(seq, str(seq)) for seq in range(1, 301)))
    hub.edge.send(Up.WAVES, *(wave(seq) for seq in range(1, 31)))
    hub.edge.send(Up.ALARM, alarm(1), alarm(2))
    hub.edge.send(Up.CARE, care(1), care(2))
    await hub.edge.drained()
    assert hub.count(hub.samples, record) == 330
    assert hub.count(hub.care, care_record) == 4
    assert hub.screen.values == [f"edge-clinic/mon-b01/{seq}" for seq in range(1, 301)]
    assert hub.screen.contacts == {"edge-clinic"}, "what is measured tells that a node is there, without a presence"
    assert (hub.screen.waves_seen, hub.intake.alarms) == (30, ["0190-alarm/1", "0190-alarm/2"])
    assert hub.intake.events == ["event-1", "event-2"]
    assert hub.intake.in_thread == {"care-writer_0"}
    assert 900 < hub.edge.window <= 1024, "credit; less than all of it only while this machine is slow"
    assert hub.metric("hub_records_total", store="samples") == 330


async def test_history_is_stored_as_if_each_record_had_come_by_itself_and_a_bomb_stops_nothing(hub: Hub) -> None:
    sent = [numeric(seq, str(seq)) for seq in range(1, 201)]
    hub.edge.raw(Up.VITALS, history.MAGIC + zstandard.ZstdCompressor().compress(bytes(1 << 24)))
    hub.edge.raw(Up.VITALS, history.encode(sent, PACKER).container)
    hub.edge.send(Up.VITALS, *sent[:3])
    await hub.edge.until(lambda: any(item.contig == 200 for item in hub.edge.receipts))
    assert hub.column(hub.samples, record, "payload") == [item.payload for item in sent]
    assert hub.column(hub.samples, record, "crc") == [item.crc for item in sent]
    assert hub.metric("hub_dead_letters_total", reason=Code.TOO_LARGE) == 1


async def test_a_greeting_is_answered_with_the_form_that_history_may_take(hub: Hub) -> None:
    hub.edge.hello()
    await hub.edge.until(lambda: hub.edge.history_packer == PACKER)


async def test_an_alarm_is_receipted_at_once_and_samples_at_most_once_a_second(hub: Hub) -> None:
    for seq in range(1, 9):
        hub.edge.send(Up.ALARM, alarm(seq))
        hub.edge.send(Up.VITALS, numeric(seq))
        await hub.edge.until(partial(is_stored, hub, seq))
    await hub.edge.drained()
    vitals = [item for item in hub.edge.receipts if item.stream == "mon-b01/numeric"]
    assert len(vitals) <= 3
    assert vitals[-1].contig == 8


async def test_a_duplicate_is_receipted_again_and_not_stored_again(hub: Hub) -> None:
    hub.edge.send(Up.ALARM, alarm(1))
    await hub.edge.drained()
    count = len(hub.edge.receipts)
    hub.edge.send(Up.ALARM, alarm(1))
    await hub.edge.until(lambda: len(hub.edge.receipts) > count)
    assert (hub.count(hub.care, care_record), hub.intake.alarms) == (1, ["0190-alarm/1"])


async def test_garbage_is_kept_and_does_not_hold_up_the_stream(hub: Hub) -> None:
    hub.edge.raw(Up.VITALS, b"no container at all")
    hub.edge.raw(Up.HELLO, b"\xff\xff")
    hub.edge.send(Up.VITALS, numeric(1), sealed(Kind.NUMERIC_SET, b"\xff\xff", 2), numeric(3))
    await hub.edge.drained()
    assert hub.edge.last("mon-b01/numeric").contig == 3
    reasons = hub.column(hub.samples, samples_dead_letter, "reason")
    assert sorted(map(str, reasons)) == [Code.CONTAINER_UNREADABLE, Code.PAYLOAD_UNREADABLE]
    assert hub.count(hub.samples, record) == 2
    assert hub.noted == {f"edge-clinic: {Code.PAYLOAD_UNREADABLE}": 3}


async def test_an_alarm_that_breaks_care_is_buried_after_three_tries_and_the_next_one_passes(hub: Hub) -> None:
    hub.edge.send(Up.ALARM, alarm(1), alarm(2, "poison"), alarm(3))
    await hub.edge.drained()
    assert hub.intake.poisoned == 3
    assert hub.intake.alarms == ["0190-alarm/1", "0190-alarm/3", "hub: alarm-unreadable"]
    assert hub.column(hub.care, care_dead_letter, "reason") == [Code.POISON]
    assert hub.edge.last("node/alarm").contig == 3


async def test_a_jump_is_flagged_kept_and_receipted_with_its_gap(hub: Hub) -> None:
    hub.edge.send(Up.VITALS, numeric(1), numeric(1_000_000_001))
    await hub.edge.drained()
    receipt = hub.edge.last("mon-b01/numeric")
    assert (receipt.contig, receipt.max) == (1, 1_000_000_001)
    assert [(gap.first, gap.last) for gap in receipt.gaps] == [(2, 1_000_000_000)]
    assert hub.metric("hub_stream_jumps_total") == 1
    assert hub.noted == {f"edge-clinic: {Code.SEQ_JUMP}": 1}


async def test_another_content_under_the_same_key_is_a_security_event(hub: Hub) -> None:
    hub.edge.send(Up.VITALS, numeric(1, "96"))
    await hub.edge.drained()
    hub.edge.raw(Up.VITALS, encode([numeric(1, "40")]))
    hub.edge.send(Up.VITALS, numeric(2, "97"))
    await hub.edge.drained()
    assert hub.metric("hub_dead_letters_total", reason=Code.KEY_CONFLICT) == 1
    assert hub.noted == {f"edge-clinic: {Code.KEY_CONFLICT}": 1}
    assert hub.screen.values == ["edge-clinic/mon-b01/96", "edge-clinic/mon-b01/97"]


async def test_records_of_a_newer_schema_are_stored_receipted_and_told(hub: Hub) -> None:
    hub.edge.send(Up.VITALS, of_schema(sealed(Kind.NUMERIC_SET, b"from the future", 1), 99))
    await hub.edge.drained()
    assert (hub.count(hub.samples, record), hub.screen.values) == (1, [])
    assert hub.noted == {f"edge-clinic: {Code.SCHEMA_UNKNOWN}": 1}


async def test_a_packet_over_the_limit_is_refused_and_the_edge_can_go_on(hub: Hub) -> None:
    hub.edge.raw(Up.VITALS, bytes(300_000))
    hub.edge.send(Up.VITALS, numeric(1))
    await hub.edge.drained()
    assert hub.count(hub.samples, samples_dead_letter) == 0


async def test_a_hello_is_answered_with_receipts_and_the_events_after_its_cursor(hub: Hub) -> None:
    hub.edge.send(Up.VITALS, numeric(1), numeric(2))
    hub.edge.send(Up.CARE, care(1))
    await hub.edge.drained()
    for number in range(1, 451):
        hub.log.append(f"ordered-{number}")
    hub.edge.receipts.clear()
    streams = [
        uplink_pb2.StreamState(stream=name, epoch=EPOCH, acked=acked)
        for name, acked in (("mon-b01/numeric", 5), ("node/care", 1), ("mon-b09/wave", 0))
    ]
    hub.edge.hello(*streams, cursor=10)
    await hub.edge.until(lambda: sum(len(page.events) for page in hub.edge.pages) == 440)
    told = {(item.stream, item.contig) for item in hub.edge.receipts}
    assert told >= {("mon-b01/numeric", 2), ("node/care", 1), ("mon-b09/wave", 0)}
    numbers = [ordered.site_seq for page in hub.edge.pages for ordered in page.events]
    assert numbers == list(range(11, 451))
    assert hub.edge.pages[-1].head == 450
    assert hub.metric("hub_lost_history_total") == 1
    assert hub.noted == {f"edge-clinic: {Code.HUB_LOST_HISTORY}": 1}


async def test_what_is_committed_while_a_hello_is_answered_is_not_taken_back_by_the_answer(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[uplink_pb2.Receipts] = []
    hub.ingest.downlink.on_receipts = lambda _address, message: told.append(message)
    epochs_of = hub.ingest._epochs_of

    async def slowly(*arguments: Any) -> dict[str, list[str]]:
        hub.edge.send(Up.ALARM, alarm(1))
        await hub.edge.drained()
        return await epochs_of(*arguments)

    monkeypatch.setattr(hub.ingest, "_epochs_of", slowly)
    hub.edge.hello(uplink_pb2.StreamState(stream="node/alarm", epoch=EPOCH))
    await hub.edge.until(lambda: any(message.hub_run for message in told))
    answered = next(number for number, message in enumerate(told) if message.hub_run)
    # On a slow machine the alarm comes again, and is receipted more than once.
    assert {message.receipts[0].contig for message in told[:answered]} == {1}
    assert told[answered].receipts[0].contig == 0
    node, recent = Delivery(acked=0, next_seq=2), Recent()
    for message in told[: answered + 1]:
        recent.note(message)
        for each in message.receipts:
            node.take(receipt_of(each, message.hub_unix_ns))
    assert node.acked == 1, "as nodes hear it, in this order"
    assert recent.judge([alarm(1)], 0.0) is Came.NEW
    assert recent.judge([alarm(1)], 0.0) is Came.STORED


async def test_a_node_that_numbers_anew_without_its_old_numbers_has_lost_what_it_had_not_sent(hub: Hub) -> None:
    hub.edge.send(Up.VITALS, numeric(1), numeric(2))
    hub.edge.send(Up.CARE, care(1))
    await hub.edge.drained()
    anew = uplink_pb2.StreamState(stream="mon-b01/numeric", epoch=EPOCH + 1)
    known = uplink_pb2.StreamState(stream="node/care", epoch=EPOCH)
    fresh = uplink_pb2.StreamState(stream="mon-b09/wave", epoch=EPOCH + 1)
    hub.edge.receipts.clear()
    # What a part of a greeting does not name may stand in the next one.
    hub.edge.hello(anew, is_part=True)
    await hub.edge.until(lambda: any(one.epoch == EPOCH + 1 for one in hub.edge.receipts))
    assert hub.noted == {}
    hub.edge.hello(anew, known, fresh)
    await hub.edge.until(lambda: hub.noted == {f"edge-clinic: {Code.EPOCH_LOST}": 1})
    # One that was salvaged still knows the old ones.
    hub.noted.clear()
    hub.edge.receipts.clear()
    hub.edge.hello(anew, known, uplink_pb2.StreamState(stream="mon-b01/numeric", epoch=EPOCH))
    await hub.edge.until(lambda: len(hub.edge.receipts) >= 3)
    assert hub.noted == {}


async def test_a_head_or_a_cursor_beyond_what_a_database_holds_stops_nothing(hub: Hub, tmp_path: Path) -> None:
    hub.ingest.agrees_with = AuditHeads(hub.care, "baoshan", open_seal(tmp_path / "audit"), lambda: 1).agrees_with
    hub.ingest.downlink._events = events
    key = Ed25519PrivateKey.generate()
    for n in (2**63, 2**64 - 1):
        head = head_message(sign(key, "0" * 32, n, "0" * 64, 1))
        for anchor, cursor in ((head, 0), (None, n), (None, 0)):
            hub.edge.history_packer = 0
            pages = len(hub.edge.pages)
            hub.edge.hello(anchor=anchor, cursor=cursor)
            await hub.edge.until(lambda: hub.edge.history_packer == PACKER)
            await hub.edge.until(lambda known=pages: len(hub.edge.pages) > known)  # type: ignore[misc]
        hub.edge.raw(Up.PRESENCE, uplink_pb2.Presence(boottime_ns=n >> 62, event_cursor=n).SerializeToString())
        await hub.edge.until(lambda told=n >> 62: any(item.echo_boottime_ns == told for item in hub.edge.presences))  # type: ignore[misc]
    assert hub.noted == {}


async def test_new_events_go_down_at_once_and_again_if_the_node_does_not_move(hub: Hub) -> None:
    hub.edge.hello(cursor=0)
    await hub.edge.until(lambda: len(hub.edge.pages) == 1)
    hub.log.append("new")
    hub.ingest.downlink.events_changed("baoshan-clinic")
    await hub.edge.until(lambda: len(hub.edge.pages) == 2)
    assert [ordered.event.event_id for ordered in hub.edge.pages[1].events] == ["new"]
    presence = uplink_pb2.Presence(boottime_ns=77, event_cursor=0)
    async with asyncio.timeout(10):
        while len(hub.edge.pages) < 3:
            hub.edge.raw(Up.PRESENCE, presence.SerializeToString())
            await asyncio.sleep(0.25)
    assert [ordered.event.event_id for ordered in hub.edge.pages[2].events] == ["new"]


async def test_presence_is_echoed_with_the_time_it_was_held(hub: Hub) -> None:
    hub.edge.raw(Up.PRESENCE, uplink_pb2.Presence(boottime_ns=123).SerializeToString())
    await hub.edge.until(lambda: any(item.echo_boottime_ns == 123 for item in hub.edge.presences))
    answer = next(item for item in hub.edge.presences if item.echo_boottime_ns == 123)
    assert answer.held_ns < 1_000_000_000
    assert (len(hub.screen.presences), hub.screen.contacts) == (1, {"edge-clinic"})


async def test_signals_pass_both_ways(hub: Hub) -> None:
    hub.edge.raw(Up.SIGNAL, uplink_pb2.Signal(consult_id="c1", kind="ring").SerializeToString())
    await hub.edge.until(lambda: bool(hub.screen.signals))
    hub.ingest.downlink.signal(hub.edge.address, uplink_pb2.Signal(consult_id="c1", kind="accept"))
    await hub.edge.until(lambda: bool(hub.edge.signals))
    assert (hub.screen.signals[0].kind, hub.edge.signals[0].kind) == ("ring", "accept")


async def test_killing_the_broker_under_traffic_loses_nothing_and_doubles_nothing(hub: Hub) -> None:
    sent = 0
    for _ in range(3):
        for step in range(40):
            sent += 1
            hub.edge.send(Up.VITALS, numeric(sent, str(sent)))
            hub.edge.send(Up.ALARM, alarm(sent))
            await asyncio.sleep(0.005)
            if step == 20:
                hub.broker.kill()
        await hub.edge.until(lambda: hub.ingest.is_connected and hub.edge.link.is_connected)
    await hub.edge.drained(30)
    assert hub.count(hub.samples, record) == sent
    assert sorted(hub.screen.values) == sorted(f"edge-clinic/mon-b01/{seq}" for seq in range(1, sent + 1))
    assert hub.count(hub.care, care_record) == sent
    assert sorted(hub.intake.alarms) == sorted(f"0190-alarm/{seq}" for seq in range(1, sent + 1))


async def test_a_node_that_the_hub_meets_by_its_presence_gets_the_events_it_lacks(hub: Hub) -> None:
    hub.log.append("made before the hub started again")
    hub.edge.raw(Up.PRESENCE, uplink_pb2.Presence(boottime_ns=1, event_cursor=0).SerializeToString())
    await hub.edge.until(lambda: any(page.events for page in hub.edge.pages))
