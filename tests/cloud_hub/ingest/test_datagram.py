"""The datagram server against nodes, strangers and those who listen in, on a clock that the test moves."""

import random
import re
import secrets
import socket
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from telemed import datagram as wire_format
from telemed import dtls
from telemed.datagram import DATAGRAM_LIMIT_BYTES, Message
from telemed.errors import Code
from telemed.topics import Up
from telemed.v1 import uplink_pb2
from telemed.wire import encode

from cloud_hub.access.sources import source_of
from cloud_hub.errors import ConfigRefused
from cloud_hub.ingest import datagram as server_module
from cloud_hub.ingest.datagram import DatagramServer, listen
from cloud_hub.ingest.datagram_limits import SOURCES_LIMIT, DatagramLimits, SourceRates
from cloud_hub.ingest.datagram_metrics import WORDS, DatagramMetrics
from cloud_hub.ingest.datagram_proof import SecretProver
from cloud_hub.ingest.datagram_recent import fitted
from edge_node.buffer.delivery import Delivery
from edge_node.uplink.pump import receipt_of
from edge_node.uplink.session import Credentials, Stage
from tests.fakes.containers import CLINIC, EPOCH, alarm, numeric
from tests.fakes.datagram_wire import NODE_CONTEXT, PEER, ManualWire, credentials, secrets_file

ELSEWHERE = ("10.9.0.2", 40002)


@pytest.fixture
def wire(tmp_path: Path) -> ManualWire:
    return ManualWire(tmp_path)


def receipts(contig: int, *gaps: int, stream: str = "node/alarm") -> uplink_pb2.Receipts:
    told = uplink_pb2.Receipt(stream=stream, epoch=EPOCH, contig=contig, max=max([contig, *gaps]) + bool(gaps))
    told.gaps.extend(uplink_pb2.SeqRange(first=gap, last=gap) for gap in gaps)
    return uplink_pb2.Receipts(receipts=[told], hub_unix_ns=5, window_hint=64)


def test_alarms_of_a_proved_node_go_to_the_intake_and_receipts_come_back(wire: ManualWire) -> None:
    session = wire.up()
    container = encode([alarm(1)])
    assert wire.say(session, Message.ALARMS, container) == []
    assert wire.taken == [(CLINIC, Up.ALARM, container)]
    wire.hub.publish(CLINIC, receipts(1))
    wire.until(lambda: bool(wire.receipts))
    assert uplink_pb2.Receipts.FromString(wire.receipts[0]).receipts[0].contig == 1
    assert wire.hub.is_reached_by(CLINIC)


def test_receipts_of_other_streams_are_not_sent_by_datagram(wire: ManualWire) -> None:
    session = wire.up()
    wire.say(session, Message.ALARMS, encode([alarm(1)]))
    before = len(wire.answers)
    wire.hub.publish(CLINIC, receipts(7, stream="mon-b01/numeric"))
    assert len(wire.answers) == before


def test_what_comes_again_after_its_commit_is_answered_without_the_intake(wire: ManualWire) -> None:
    session = wire.up()
    wire.say(session, Message.ALARMS, encode([alarm(1)]))
    wire.hub.publish(CLINIC, receipts(1))
    wire.now_s += 10
    assert len(wire.say(session, Message.ALARMS, encode([alarm(1)]))) == 1
    assert (len(wire.taken), wire.hub.counts["again"]) == (1, 1)


def test_what_comes_again_before_its_commit_goes_to_the_intake_again_only_after_a_while(wire: ManualWire) -> None:
    session = wire.up()
    for wait_s in (0, 0.1, 0.2):
        wire.now_s += wait_s
        wire.say(session, Message.ALARMS, encode([alarm(1)]))
    assert len(wire.taken) == 2


def test_what_lies_in_a_gap_is_never_taken_for_stored(wire: ManualWire) -> None:
    session = wire.up()
    wire.say(session, Message.ALARMS, encode([alarm(2)]))
    wire.hub.publish(CLINIC, receipts(1, 2))
    wire.now_s += 1
    wire.say(session, Message.ALARMS, encode([alarm(2)]))
    assert len(wire.taken) == 2


def test_another_content_under_a_known_number_always_goes_to_the_intake(wire: ManualWire) -> None:
    session = wire.up()
    wire.say(session, Message.ALARMS, encode([alarm(1)]))
    wire.hub.publish(CLINIC, receipts(1))
    wire.say(session, Message.ALARMS, encode([alarm(1, "another")]))
    assert len(wire.taken) == 2


def test_only_alarms_are_taken(wire: ManualWire) -> None:
    session = wire.up()
    wire.say(session, Message.ALARMS, encode([numeric(1)]))
    wire.say(session, Message.ALARMS, encode([alarm(1), numeric(1)]))
    wire.say(session, Message.ALARMS, encode([]))
    wire.say(session, Message.ALARMS, b"no container")
    wire.say(session, Message.PING, b"short")
    assert wire.taken == []
    assert (wire.hub.counts["no-alarm"], wire.hub.counts["unreadable"]) == (3, 2)


def test_nothing_is_taken_before_the_proof(wire: ManualWire) -> None:
    session = wire.start()
    wire.until(lambda: session.stage is Stage.PROVING)
    wire.say(session, Message.ALARMS, encode([alarm(1)]))
    wire.say(session, Message.PING, bytes(8))
    assert (wire.taken, wire.hub.counts["unproved"], wire.hub.sessions) == ([], 2, 0)


def test_a_ping_beside_alarms_is_answered_once_and_by_less_than_was_asked(wire: ManualWire) -> None:
    session = wire.up()
    datagram = session.marked(encode([alarm(1)]), wire.now_s, DATAGRAM_LIMIT_BYTES)
    answers = wire.ask(datagram)
    assert [len(answer) < len(datagram) for answer in answers] == [True]
    assert wire.ask(datagram) == []
    assert len(wire.taken) == 1


def test_a_ping_beside_alarms_is_not_answered_before_the_proof(wire: ManualWire) -> None:
    session = wire.start()
    wire.until(lambda: session.stage is Stage.PROVING)
    assert wire.ask(session.marked(encode([alarm(1)]), wire.now_s, DATAGRAM_LIMIT_BYTES)) == []
    assert (wire.taken, wire.hub.counts["unproved"]) == ([], 2)


def test_a_wrong_secret_is_refused_counted_and_told(wire: ManualWire) -> None:
    session = wire.start(credentials(secret="wrong"))
    wire.until(lambda: session.stage is Stage.REFUSED)
    assert wire.noted == [("edge-clinic", Code.CONNECT_REFUSED)]
    assert (wire.hub.counts["refused"], wire.hub.sessions, wire.hub.pending) == (1, 0, 0)


@pytest.mark.parametrize("name", ["stranger", "hub", "", "x" * 60])
def test_a_name_that_is_no_node_is_refused_and_told_of_nobody(wire: ManualWire, name: str) -> None:
    session = wire.start(Credentials(name, "hub-secret" if name == "hub" else ""))
    wire.until(lambda: session.stage is Stage.REFUSED)
    assert (wire.noted, wire.hub.counts["refused"]) == ([], 1)


def test_a_proof_belongs_to_one_channel_alone(wire: ManualWire) -> None:
    """Whoever stands in the middle has a channel to each side, and passes on what the node says."""
    middle = wire.start()
    wire.until(lambda: middle.stage is Stage.PROVING)
    of_hub = dtls.hub_context(lambda _who: b"cookie", lambda _who, _cookie: True)
    victim, trap = dtls.Channel(NODE_CONTEXT, is_hub=False), dtls.Channel(of_hub, is_hub=True)
    flight = victim.take(trap.listen(victim.begin(), b"who")[1])[1]
    flight = victim.take(trap.listen(flight, b"who")[1])[1]
    assert victim.take(trap.take(flight)[1]) == ([], b"")
    who = credentials()
    overheard = wire_format.node_proof(who.secret, who.node, victim.binding()) + who.node.encode()
    wire.say(middle, Message.PROOF, overheard)
    assert (wire.hub.counts["refused"], wire.hub.sessions) == (1, 0)


def test_the_bindings_of_two_channels_differ_and_the_ends_of_one_agree() -> None:
    bindings = set()
    for _ in range(2):
        of_hub = dtls.hub_context(lambda _who: b"cookie", lambda _who, _cookie: True)
        node, hub = dtls.Channel(NODE_CONTEXT, is_hub=False), dtls.Channel(of_hub, is_hub=True)
        flight = node.take(hub.listen(node.begin(), b"who")[1])[1]
        flight = node.take(hub.listen(flight, b"who")[1])[1]
        node.take(hub.take(flight)[1])
        assert node.binding() == hub.binding()
        bindings.add(node.binding())
    assert len(bindings) == 2


def test_a_replayed_datagram_is_counted_and_does_nothing(wire: ManualWire) -> None:
    session = wire.up()
    overheard = session.seal(Message.ALARMS, encode([alarm(1)]))
    wire.ask(overheard)
    wire.now_s += 10
    assert wire.ask(overheard) == []
    assert wire.ask(overheard, ELSEWHERE) == []
    assert (len(wire.taken), wire.hub.counts["replayed-or-forged"]) == (1, 2)
    wire.hub.publish(CLINIC, receipts(1))
    assert wire.answers[-1][1] == PEER


def test_a_forged_datagram_of_a_known_session_is_counted_and_does_nothing(wire: ManualWire) -> None:
    session = wire.up()
    sealed = bytearray(session.seal(Message.ALARMS, encode([alarm(1)])))
    sealed[-1] ^= 1
    assert wire.ask(bytes(sealed)) == []
    assert (wire.taken, wire.hub.counts["replayed-or-forged"]) == ([], 1)
    wire.say(session, Message.ALARMS, encode([alarm(1)]))
    assert len(wire.taken) == 1


def test_a_stranger_gets_a_cookie_and_leaves_nothing_behind(wire: ManualWire) -> None:
    for number in range(200):
        hello = wire.start(peer=("10.9.1.1", number)).due(wire.now_s)[0]
        answers = wire.ask(hello, ("10.9.1.1", number))
        assert [len(answer) < len(hello) for answer in answers] == [True]
    assert (wire.hub.pending, wire.hub.sessions, wire.hub.counts["hello"]) == (0, 0, 200)


def test_a_cookie_is_worth_nothing_from_another_address(wire: ManualWire) -> None:
    session = wire.start()
    session.take(wire.ask(session.due(wire.now_s)[0])[0], wire.now_s)
    question = session.due(wire.now_s)[0]
    wire.ask(question, ELSEWHERE)
    assert (wire.hub.pending, wire.hub.counts["handshake"]) == (0, 0)
    wire.ask(question)
    assert (wire.hub.pending, wire.hub.counts["handshake"]) == (1, 1)


def test_a_cookie_is_worth_nothing_after_two_minutes(wire: ManualWire) -> None:
    session = wire.start()
    session.take(wire.ask(session.due(wire.now_s)[0])[0], wire.now_s)
    question = session.due(wire.now_s)[0]
    for _ in range(2):
        wire.now_s += 61
        wire.hub.sweep()
    wire.ask(question)
    assert wire.hub.counts["handshake"] == 0


def test_a_handshake_that_comes_to_nothing_is_forgotten(wire: ManualWire) -> None:
    session = wire.start()
    wire.until(lambda: session.stage is Stage.PROVING)
    assert wire.hub.pending == 1
    wire.now_s += 10.1
    wire.hub.sweep()
    assert wire.hub.pending == 0


def test_a_session_that_talks_without_proving_itself_is_forgotten_all_the_same(wire: ManualWire) -> None:
    session = wire.start()
    wire.until(lambda: session.stage is Stage.PROVING)
    wire._nodes.clear()
    for _ in range(12):
        wire.now_s += 1
        wire.say(session, Message.PING, bytes(8))
        wire.hub.sweep()
    assert wire.hub.pending == 0


def test_a_silent_session_is_forgotten_and_its_node_is_told_when_it_comes_back(wire: ManualWire) -> None:
    session = wire.up()
    wire.now_s += 60.1
    wire.hub.sweep()
    assert (wire.hub.sessions, wire.hub.is_reached_by(CLINIC)) == (0, False)
    datagram = session.seal(Message.ALARMS, encode([alarm(1)]))
    assert wire.ask(datagram) == [wire_format.unknown(session.name)]
    assert wire.hub.counts["unknown-session"] == 1


def test_no_answer_is_longer_than_its_question_whatever_is_lost(wire: ManualWire) -> None:
    """The wire itself asserts it after every answer; here much of a handshake and of alarms is lost."""
    wire.loss = 0.5
    for number in range(30):
        peer = ("10.9.2.1", number)
        session = wire.up(peer=peer)
        wire.hub.publish(CLINIC, receipts(1))
        wire.say(session, Message.ALARMS, encode([alarm(1000 + number)]), peer)
        wire.hub.publish(CLINIC, receipts(1, *range(3, 999, 2)))
        wire.pass_time(3)
    assert sum(wire.answered_bytes.values()) <= sum(wire.asked_bytes.values())


def test_a_short_question_gets_no_long_answer_until_it_was_asked_often_enough(wire: ManualWire) -> None:
    session = wire.start()
    session.take(wire.ask(session.due(wire.now_s)[0])[0], wire.now_s)
    records = wire_format.records_of(session.due(wire.now_s)[0])
    assert records is not None
    question = wire_format.envelope(session.name, records)
    assert [len(wire.ask(question)) for _ in range(3)] == [0, 0, 1]
    assert len(wire.answers[-1][0]) > 2 * len(question)


def test_receipts_that_nobody_asked_for_end_when_the_credit_is_used_up(wire: ManualWire) -> None:
    session = wire.up()
    for contig in range(1, 200):
        wire.hub.publish(CLINIC, receipts(contig))
    assert wire.hub.counts["no-credit"] > 100
    assert len(wire.say(session, Message.PING, bytes(8))) == 1


def test_a_receipt_that_may_not_be_long_claims_less_and_is_never_taken_for_a_loss() -> None:
    missing = list(range(10, 70, 2))
    whole = receipts(9, *missing)
    for room_bytes in range(20, 600):
        body = fitted(whole, room_bytes)
        if body is None:
            assert room_bytes < 50
            continue
        told = uplink_pb2.Receipts.FromString(body)
        assert len(body) <= room_bytes
        assert not any(wire_format.covers(told.receipts[0], seq) for seq in missing)
        delivery = Delivery(0, 100)
        delivery.take(receipt_of(whole.receipts[0], whole.hub_unix_ns))
        turn = delivery.turn
        delivery.take(receipt_of(told.receipts[0], told.hub_unix_ns))
        assert (delivery.turn, delivery.receipt.max) == (turn, 69)


def test_an_answer_from_memory_says_when_it_was_true(wire: ManualWire) -> None:
    session = wire.up()
    wire.say(session, Message.ALARMS, encode([alarm(1)]))
    wire.hub.publish(CLINIC, receipts(1))
    later = receipts(1, stream="other/alarm")
    later.hub_unix_ns = 99
    wire.hub.publish(CLINIC, later)
    wire.receipts.clear()
    wire.say(session, Message.ALARMS, encode([alarm(1)]))
    wire.until(lambda: len(wire.receipts) == 3)
    told = uplink_pb2.Receipts.FromString(wire.receipts[-1])
    assert ([each.stream for each in told.receipts], told.hub_unix_ns, told.window_hint) == (["node/alarm"], 5, 64)


def test_before_the_proof_answers_go_only_where_the_cookie_came_from(wire: ManualWire) -> None:
    session = wire.start()
    for _ in range(2):
        session.take(wire.ask(session.due(wire.now_s)[0])[0], wire.now_s)
    wire.ask(session.due(wire.now_s)[0], ELSEWHERE)
    assert {peer for _, peer in wire.answers} == {PEER}


def test_a_session_survives_the_translator_giving_it_another_address(wire: ManualWire) -> None:
    session = wire.up()
    wire.move(PEER, ELSEWHERE)
    wire.say(session, Message.ALARMS, encode([alarm(1)]), ELSEWHERE)
    wire.hub.publish(CLINIC, receipts(1))
    assert wire.answers[-1][1] == ELSEWHERE
    assert (wire.hub.counts["moved"], len(wire.taken)) == (1, 1)


def test_a_node_holds_four_sessions_at_most_and_the_most_silent_goes(wire: ManualWire) -> None:
    slow = wire.start(peer=("10.9.3.1", 99))
    wire.until(lambda: slow.stage is Stage.PROVING)
    wire._nodes.clear()
    sessions = [wire.up(peer=("10.9.3.1", number)) for number in range(4)]
    wire._nodes[("10.9.3.1", 99)] = slow
    wire.until(lambda: slow.stage is Stage.UP)
    assert wire.hub.sessions == 4
    assert wire.hub._sessions.find(slow.name) is not None
    assert wire.ask(sessions[0].seal(Message.PING, bytes(8)), ("10.9.3.1", 0)) == [
        wire_format.unknown(sessions[0].name)
    ]


def test_all_sessions_together_are_limited(tmp_path: Path) -> None:
    wire = ManualWire(tmp_path, DatagramLimits(sessions=2))
    for number in range(3):
        wire.up(credentials("edge-home" if number else "edge-clinic"), ("10.9.4.1", number))
    assert wire.hub.sessions == 2
    assert not wire.hub.is_reached_by(CLINIC)


def test_handshakes_under_way_are_limited(tmp_path: Path) -> None:
    wire = ManualWire(tmp_path, DatagramLimits(pending=3))
    for number in range(6):
        session = wire.start(peer=("10.9.5.1", number))
        wire.until(lambda session=session: session.stage is Stage.PROVING)  # type: ignore[misc]
        wire._nodes.clear()
    assert wire.hub.pending == 3


def test_one_source_may_begin_only_so_many_handshakes(tmp_path: Path) -> None:
    wire = ManualWire(tmp_path, DatagramLimits(handshakes_per_source_s=0.001, handshakes_per_source_burst=3))
    for number in range(3):
        wire.up(peer=("10.9.6.1", number))
    wire.start(peer=("10.9.6.1", 3))
    wire.pass_time(2)
    assert (wire.hub.counts["proved"], wire.hub.counts["too-many-handshakes"] > 0) == (3, True)
    wire.up(peer=("10.9.6.2", 1))


def test_sources_are_addresses_or_ipv6_sites_and_only_so_many_are_remembered() -> None:
    assert source_of("10.0.0.1") != source_of("10.0.0.2")
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff%eth0") != source_of("2001:db8:0:1::1")
    rates = SourceRates(1, 1)
    for number in range(SOURCES_LIMIT + 10):
        rates.take(str(number), 0)
    assert len(rates) == SOURCES_LIMIT


@pytest.mark.timeout(180)
def test_a_hundred_thousand_random_datagrams_leave_nothing_and_cost_little(wire: ManualWire) -> None:
    draw = random.Random(11)
    session = wire.up()
    hello = wire.start(peer=ELSEWHERE).due(wire.now_s)[0]
    sealed = session.seal(Message.PING, bytes(8))
    began_s = time.process_time()
    for number in range(100_000):
        kind = number % 10
        if kind < 6:
            datagram = draw.randbytes(draw.randrange(1500))
        elif kind < 8:
            datagram = bytes((wire_format.RECORDS,)) + draw.randbytes(draw.randrange(1199))
        else:
            changed = bytearray(hello if kind == 8 else sealed)
            for _ in range(draw.randrange(1, 4)):
                changed[draw.randrange(len(changed))] = draw.randrange(256)
            datagram = bytes(changed)
        wire._to_hub(datagram, (f"10.{number % 7}.0.1", number % 65536))
    us_each = (time.process_time() - began_s) * 10
    assert us_each < 100
    assert (wire.hub.sessions, wire.hub.pending, wire.taken) == (1, 0, [])
    assert wire.hub.counts["malformed"] >= 75_000
    wire.say(session, Message.ALARMS, encode([alarm(1)]))
    assert len(wire.taken) == 1


def test_a_datagram_over_the_limit_is_not_looked_at(wire: ManualWire) -> None:
    hello = wire.start().due(wire.now_s)[0]
    assert wire.ask(hello.ljust(DATAGRAM_LIMIT_BYTES + 1, b"\0")) == []
    assert wire.hub.counts["malformed"] == 1
    assert len(wire.ask(hello.ljust(DATAGRAM_LIMIT_BYTES, b"\0"))) == 1


def test_a_flood_of_strangers_is_let_out_and_a_session_goes_on(tmp_path: Path) -> None:
    wire = ManualWire(tmp_path, DatagramLimits(hellos_per_s=50, unknowns_per_s=50))
    session = wire.up()
    hello = wire.start(peer=ELSEWHERE).due(wire.now_s)[0]
    before = len(wire.answers)
    for _ in range(500):
        wire.ask(hello, ELSEWHERE)
        wire.ask(bytes((wire_format.RECORDS,)) + secrets.token_bytes(8) + session.seal(Message.PING, bytes(8))[9:])
    assert len(wire.answers) - before <= 100
    wire.say(session, Message.ALARMS, encode([alarm(1)]))
    assert len(wire.taken) == 1


def test_a_port_that_is_taken_is_refused_with_the_key_to_change() -> None:
    first = listen("127.0.0.1", 0)
    with first, pytest.raises(ConfigRefused, match=r"datagram_port.*another hub"):
        listen("127.0.0.1", first.getsockname()[1])


def test_answers_are_marked_expedited() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) >> 2 == 46


def test_an_unreadable_secrets_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused):
        SecretProver(tmp_path / "missing.json")


def test_every_word_that_is_counted_is_described_and_shown(tmp_path: Path) -> None:
    said = set(re.findall(r'counts\["([a-z-]+)"\]', Path(server_module.__file__).read_text(encoding="utf-8")))
    assert said == set(WORDS)
    registry = CollectorRegistry()
    DatagramServer(SecretProver(secrets_file(tmp_path)), lambda *_: None, registry=registry)
    shown = {sample.labels.get("what") for family in registry.collect() for sample in family.samples}
    assert shown - {None} == set(WORDS)
    assert isinstance(DatagramMetrics({}, lambda: 0), DatagramMetrics)
