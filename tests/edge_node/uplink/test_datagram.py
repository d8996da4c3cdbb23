"""The node's end of the datagram path: sessions on a manual clock, paths on real sockets."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from telemed import datagram as wire_format
from telemed import wire
from telemed.datagram import DATAGRAM_LIMIT_BYTES, MARK_BYTES, SEALED_BYTES, SMALL_LIMIT_BYTES, Message
from telemed.topics import NodeAddress, Up
from telemed.v1 import uplink_pb2

from cloud_hub.ingest import datagram as hub_side
from cloud_hub.ingest.datagram import DatagramServer
from cloud_hub.ingest.datagram_proof import SecretProver
from cloud_hub.ingest.receipts import receipt
from cloud_hub.store.watermarks import Watermark
from edge_node.errors import ConfigRefused
from edge_node.uplink.datagram import AlarmPath, PathEvents, credentials_of
from edge_node.uplink.datagram_socket import PathSettings, open_socket
from edge_node.uplink.repeat import MaySend
from edge_node.uplink.session import NodeSession, Stage
from edge_node.uplink.spare import FIRST_BPS, Spare
from tests.fakes.containers import CLINIC, EPOCH, alarm
from tests.fakes.datagram_wire import NODE_CONTEXT, ManualWire, credentials, secrets_file
from tests.fakes.lossy import Lossy

STREAM = "node/alarm"


@pytest.fixture
def manual(tmp_path: Path) -> ManualWire:
    return ManualWire(tmp_path)


def test_a_session_is_up_after_four_round_trips(manual: ManualWire) -> None:
    session = manual.start()
    took_s = manual.until(lambda: session.stage is Stage.UP)
    assert took_s == pytest.approx(4 * 2 * 0.02, abs=0.05)


def test_with_half_of_all_packets_lost_every_session_comes_up_in_seconds(manual: ManualWire) -> None:
    manual.loss = 0.5
    took_s = []
    for number in range(100):
        session = manual.start(peer=("10.9.0.1", number))
        took_s.append(manual.until(lambda session=session: session.stage is Stage.UP))  # type: ignore[misc]
        manual._nodes.clear()
    took_s.sort()
    assert took_s[50] < 2.5
    assert took_s[-1] < 10


def test_an_answer_after_openssl_lost_patience_is_followed_by_one_flight_alone(manual: ManualWire) -> None:
    session, told = manual.start(), list[int]()
    for _ in range(2):
        answer = manual.ask(session.due(manual.now_s)[0])[0]
        time.sleep(1.05)  # OpenSSL's own repeat timer goes by the clock of the machine
        session.take(answer, manual.now_s)
        told.append(_records_in(session._flight))
    assert told == [1, 3]  # a client hello; key exchange, change of cipher, finished
    manual.until(lambda: session.stage is Stage.UP)


def _records_in(flight: bytes) -> int:
    count = at = 0
    while at < len(flight):
        at += 13 + int.from_bytes(flight[at + 11 : at + 13], "big")
        count += 1
    return count


def test_a_lost_welcome_is_asked_for_again(manual: ManualWire) -> None:
    session = manual.start()
    manual.until(lambda: session.stage is Stage.PROVING)
    manual.loss = 1.0
    manual.pass_time(0.5)
    manual.loss = 0.0
    manual.until(lambda: session.stage is Stage.UP)
    assert manual.hub.counts["proved"] == 1


def test_receipts_that_overtake_a_lost_welcome_count_for_nothing_and_do_no_harm(manual: ManualWire) -> None:
    session = manual.start()
    manual.until(lambda: session.stage is Stage.PROVING)
    manual.until(lambda: manual.hub.sessions == 1)
    manual._down.clear()
    told = uplink_pb2.Receipts(receipts=[uplink_pb2.Receipt(stream=STREAM, epoch=EPOCH, contig=1, max=1)])
    manual.hub.publish(NodeAddress("baoshan", "baoshan-clinic", "edge-clinic"), told)
    manual.until(lambda: session.stage is not Stage.PROVING)
    assert (session.stage, manual.receipts) == (Stage.UP, [])


def test_a_hub_that_cannot_prove_the_secret_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manual = ManualWire(tmp_path)
    monkeypatch.setattr("cloud_hub.ingest.datagram_proof.hub_proof", lambda *_: secrets.token_bytes(32))
    session = manual.start()
    manual.until(lambda: session.stage is Stage.REFUSED)
    assert session.due(manual.now_s + 100) == []
    assert session.next_s() is None


def test_the_hubs_proof_for_one_node_is_no_proof_for_another_or_of_a_node() -> None:
    binding = bytes(64)
    proofs = {
        wire_format.hub_proof("s", "edge-a", binding),
        wire_format.hub_proof("s", "edge-b", binding),
        wire_format.hub_proof("t", "edge-a", binding),
        wire_format.node_proof("s", "edge-a", binding),
    }
    assert len(proofs) == 4


def test_a_heartbeat_measures_the_round_trip(manual: ManualWire) -> None:
    session = manual.up()
    manual.pass_time(5)
    assert session.round_trip_s == pytest.approx(0.04, abs=0.011)
    assert manual.hub.counts["ping"] == 3


def test_an_unanswered_heartbeat_is_asked_again_soon_and_rarely_when_the_hub_is_gone(manual: ManualWire) -> None:
    session = manual.up()
    manual.pass_time(0.1)
    now_s, times = manual.now_s, list[float]()
    while len(times) < 36:
        now_s += 0.01
        times += [now_s] * len(session.due(now_s))
    waits = [round(later - sooner, 2) for sooner, later in pairwise(times)]
    assert all(0.1 <= wait_s < 0.12 for wait_s in waits[:29])
    assert all(1.0 <= wait_s < 1.02 for wait_s in waits[30:])


def test_with_half_of_all_packets_lost_an_idle_session_is_hardly_ever_taken_for_down(manual: ManualWire) -> None:
    session, was_silent = manual.up(), [False]
    manual.loss = 0.5
    for _ in range(120_000):  # ten minutes
        manual.step()
        was_silent.append(manual.now_s - session.heard_s > PathSettings().silence_after_s)
    assert sum(later and not sooner for sooner, later in pairwise(was_silent)) <= 1


def test_the_answer_to_a_mark_tells_the_round_trip_of_what_goes_again_as_well(manual: ManualWire) -> None:
    session, container = manual.up(), wire.encode([alarm(1)])
    manual.pass_time(1)
    for _ in range(2):
        datagram = session.marked(container, manual.now_s, DATAGRAM_LIMIT_BYTES)
        manual.now_s += 0.3
        answers = manual.ask(datagram)
        assert len(answers) == 1
        assert session.take(answers[0], manual.now_s) == []
        assert session.round_trip_s == pytest.approx(0.3)
    assert manual.taken == [(CLINIC, Up.ALARM, container)] * 2


def test_alarms_go_without_a_mark_where_the_limit_leaves_no_room_for_it(manual: ManualWire) -> None:
    session, container = manual.up(), wire.encode([alarm(1)])
    fitting = len(container) + SEALED_BYTES + MARK_BYTES
    assert len(session.marked(container, manual.now_s, fitting)) == fitting
    bare = session.marked(container, manual.now_s, fitting - 1)
    assert len(bare) == fitting - MARK_BYTES
    assert manual.ask(bare) == []
    assert manual.taken == [(CLINIC, Up.ALARM, container)]


def test_the_share_of_answered_pings_follows_the_loss(manual: ManualWire) -> None:
    session = manual.up()
    for loss, least, most in ((0.0, 0.95, 1.0), (0.5, 0.05, 0.45), (0.0, 0.8, 1.0)):
        manual.loss = loss
        for _ in range(100):
            session.hurry(manual.now_s)
            manual.pass_time(0.1)
        assert least <= session.answered_share <= most


def test_garbage_under_the_sessions_name_does_nothing(manual: ManualWire) -> None:
    session = manual.up()
    for size in range(1, 1300, 7):
        datagram = bytes((wire_format.RECORDS,)) + session.name + secrets.token_bytes(size)
        assert session.take(datagram, manual.now_s) == []
    record = session.seal(Message.PING, bytes(8))
    assert session.take(record[:-1] + b"\0", manual.now_s) == []
    manual.pass_time(3)
    assert session.stage is Stage.UP


def test_a_handshake_with_nonsense_for_an_answer_is_broken_and_not_an_error() -> None:
    session = NodeSession(NODE_CONTEXT, credentials(), 0.0)
    nonsense = bytes((22,)) + b"\xfe\xfd" + bytes(8) + b"\0\x20" + bytes(32)
    session.take(wire_format.envelope(session.name, nonsense), 0.1)
    assert session.stage in (Stage.BROKEN, Stage.HANDSHAKE)
    assert session.take(b"", 0.1) == []


def test_a_channel_refuses_a_message_that_fits_no_datagram(manual: ManualWire) -> None:
    session = manual.up()
    assert len(session.seal(Message.ALARMS, bytes(DATAGRAM_LIMIT_BYTES - SEALED_BYTES))) == DATAGRAM_LIMIT_BYTES
    with pytest.raises(ValueError, match="does not fit"):
        session.seal(Message.ALARMS, bytes(DATAGRAM_LIMIT_BYTES - SEALED_BYTES + 1))


def test_one_version_with_ephemeral_keys_and_authenticated_encryption_is_spoken(manual: ManualWire) -> None:
    connection = manual.up()._channel._connection
    assert connection.get_protocol_version_name() == "DTLSv1.2"
    assert connection.get_cipher_name() == "ECDHE-ECDSA-AES128-GCM-SHA256"


def test_a_secret_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match=r"uplink\.secret_file"):
        credentials_of("edge-clinic", tmp_path / "missing")
    (tmp_path / "secret").write_text("s3cret\n")
    assert credentials_of("edge-clinic", tmp_path / "secret").secret == "s3cret"
    assert "s3cret" not in repr(credentials_of("edge-clinic", tmp_path / "secret"))


@dataclass
class Region:
    """A hub that commits at once, a forwarder before it, and one node's path through it."""

    folder: Path
    lossy: Lossy
    path: AlarmPath
    port: int = 0
    hub: DatagramServer = field(init=False)
    serving: "asyncio.Task[None] | None" = None
    came: list[int] = field(default_factory=list)
    marks: dict[NodeAddress, Watermark] = field(default_factory=dict)
    told: list[uplink_pb2.Receipts] = field(default_factory=list)
    ups: list[bool] = field(default_factory=list)
    """What the path said whenever it said that something changed."""

    def take(self, node: NodeAddress, _up: Up, container: bytes) -> None:
        seqs = [record.seq for record in wire.decode(container)]
        self.came += seqs
        mark = self.marks[node] = self.marks.get(node, Watermark()).plus(seqs)
        self.hub.publish(node, uplink_pb2.Receipts(receipts=[receipt(STREAM, EPOCH, mark)], hub_unix_ns=1))

    async def start_hub(self) -> None:
        self.hub = DatagramServer(SecretProver(secrets_file(self.folder)), self.take)
        listener = hub_side.listen("127.0.0.1", self.port)
        self.port = listener.getsockname()[1]
        self.serving = asyncio.create_task(self.hub.run(listener))

    async def stop_hub(self) -> None:
        assert self.serving is not None
        self.serving.cancel()
        await asyncio.wait([self.serving])

    async def until(self, condition: Callable[[], bool], within_s: float = 15) -> None:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - the network has no event for it
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def region(
    folder: Path, settings: PathSettings | None = None, may_send: MaySend = lambda _size, _now: True
) -> AsyncIterator[Region]:
    lossy = Lossy(("127.0.0.1", 0))
    await lossy.open()
    settings = settings or PathSettings(port=lossy.port)
    found = Region(folder, lossy, AlarmPath(settings, credentials(), PathEvents(lambda _: None)))
    events = PathEvents(found.told.append, may_send, lambda: found.ups.append(found.path.is_up))
    found.path = AlarmPath(settings, credentials(), events)
    await found.start_hub()
    lossy.hub = ("127.0.0.1", found.port)
    running = asyncio.create_task(found.path.run())
    try:
        yield found
    finally:
        running.cancel()
        await asyncio.wait([running])
        await found.stop_hub()
        lossy.close()


@pytest.mark.anyio
async def test_an_alarm_given_before_there_is_a_session_arrives_and_is_receipted(tmp_path: Path) -> None:
    async with region(tmp_path) as here:
        assert here.path.send([alarm(1)]) == 1
        assert not here.path.is_up
        await here.until(lambda: here.path.repeats.waiting == 0)
        assert (here.came, here.path.is_up) == ([1], True)
        assert here.told[0].receipts[0].contig == 1


@pytest.mark.anyio
async def test_the_path_says_when_it_is_up_and_when_the_hub_is_silent(tmp_path: Path) -> None:
    async with region(tmp_path) as here:
        object.__setattr__(here.path._settings, "silence_after_s", 0.5)
        await here.until(lambda: here.ups == [True])
        here.lossy.loss = 1.0
        await here.until(lambda: here.ups == [True, False])
        here.lossy.loss = 0.0
        await here.until(lambda: here.ups == [True, False, True])


@pytest.mark.anyio
async def test_after_the_hub_was_started_again_alarms_flow_over_a_new_session(tmp_path: Path) -> None:
    async with region(tmp_path) as here:
        await here.until(lambda: here.path.is_up)
        await here.stop_hub()
        here.path.send([alarm(1)])
        await here.start_hub()
        await here.until(lambda: here.path.repeats.waiting == 0, within_s=3)
        assert here.path.counts["unknown"] >= 1
        assert here.path.counts["session"] == 2


@pytest.mark.anyio
async def test_a_hub_that_was_gone_for_long_is_found_as_soon_as_it_is_back(tmp_path: Path) -> None:
    async with region(tmp_path) as here:
        await here.until(lambda: here.path.is_up)
        await here.stop_hub()
        here.path._retry_at_s = here.path._now_s() + 3600
        here.path.send([alarm(1)])
        await asyncio.sleep(0.3)
        await here.start_hub()
        await here.until(lambda: here.path.repeats.waiting == 0, within_s=3)


@pytest.mark.anyio
async def test_a_translator_that_forgets_costs_nothing(tmp_path: Path) -> None:
    async with region(tmp_path) as here:
        await here.until(lambda: here.path.is_up)
        here.lossy.rebind()
        here.path.send([alarm(1)])
        await here.until(lambda: here.path.repeats.waiting == 0, within_s=1)
        assert (here.path.counts["session"], here.hub.counts["moved"]) == (1, 1)


@pytest.mark.anyio
async def test_when_our_address_changes_the_session_goes_on_over_a_new_socket(tmp_path: Path) -> None:
    async with region(tmp_path) as here:
        await here.until(lambda: here.path.is_up)
        here.path._socket._local = "192.0.2.7"
        await here.until(lambda: here.path.counts["socket"] == 2, within_s=3)
        here.path.send([alarm(1)])
        await here.until(lambda: here.path.repeats.waiting == 0, within_s=1)
        assert (here.path.counts["session"], here.hub.counts["proved"]) == (1, 1)


@pytest.mark.anyio
async def test_nothing_over_1200_bytes_leaves_even_when_many_alarms_are_due(tmp_path: Path) -> None:
    async with region(tmp_path) as here:
        sizes: list[int] = []
        here.lossy.tap = lambda datagram, _is_up: sizes.append(len(datagram))
        here.path.send([alarm(seq) for seq in range(1, 101)])
        await here.until(lambda: here.path.repeats.waiting == 0)
        assert sorted(here.came) == list(range(1, 101))
        assert 500 < max(sizes) <= DATAGRAM_LIMIT_BYTES


class NothingToSpare(Spare):
    """A link of which all is used."""

    def take(self, size_bytes: int, now_s: float) -> bool:
        """Refuse."""
        return False


@pytest.mark.anyio
async def test_without_budget_no_alarm_is_sent_and_with_it_all_are(tmp_path: Path) -> None:
    has_budget = False
    async with region(tmp_path, may_send=lambda size, _now: has_budget or size < 200) as here:
        here.lossy.loss = 0.0
        here.path.spare = NothingToSpare()
        here.path.send([alarm(1), alarm(2), alarm(3)])
        await asyncio.sleep(0.3)
        assert here.came == []
        has_budget = True
        await here.until(lambda: here.path.repeats.waiting == 0)
        assert here.came == [1, 2, 3]


@pytest.mark.anyio
async def test_where_the_budget_is_spent_an_open_link_carries_the_alarms(tmp_path: Path) -> None:
    async with region(tmp_path, may_send=lambda _size, _now: False) as here:
        here.lossy.loss = 0.0
        here.path.send([alarm(seq) for seq in range(1, 101)])
        await here.until(lambda: here.path.repeats.waiting == 0)
        assert sorted(here.came) == list(range(1, 101))
        # The heartbeats told that the link is open.
        assert here.path.spare.rate_bps > FIRST_BPS


@pytest.mark.anyio
async def test_what_came_by_another_path_is_not_sent(tmp_path: Path) -> None:
    async with region(tmp_path) as here:
        here.path.send([alarm(1), alarm(2), alarm(3)])
        here.path.acknowledged(STREAM, EPOCH, [1])
        here.path.take([uplink_pb2.Receipt(stream=STREAM, epoch=EPOCH, contig=2, max=2)])
        await here.until(lambda: bool(here.came))
        assert here.came == [3]


@pytest.mark.anyio
async def test_a_wrong_secret_is_told_and_not_tried_over_and_over(tmp_path: Path) -> None:
    async with region(tmp_path) as here:
        changed: list[bool] = []
        events = PathEvents(lambda _: None, on_change=lambda: changed.append(stranger.is_refused))
        settings = PathSettings(port=here.lossy.port)
        stranger = AlarmPath(settings, credentials(secret="wrong"), events)
        running = asyncio.create_task(stranger.run())
        await here.until(lambda: changed == [True])
        for _ in range(5):
            stranger.send([])
            await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.wait([running])
        assert (here.hub.counts["refused"], stranger.is_up) == (1, False)


@pytest.mark.anyio
async def test_a_path_leaves_from_the_address_it_is_bound_to(tmp_path: Path) -> None:
    async with region(tmp_path) as here:
        settings = PathSettings(port=here.port, local_address="127.0.0.9")
        second = AlarmPath(settings, credentials("edge-home"), PathEvents(lambda _: None))
        running = asyncio.create_task(second.run())
        await here.until(lambda: second.is_up)
        running.cancel()
        await asyncio.wait([running])
        assert "127.0.0.9" in {session.peer[0] for session in here.hub._sessions.proved.values()}


@pytest.mark.anyio
async def test_an_address_that_is_not_ours_keeps_the_path_down_and_harms_nothing(tmp_path: Path) -> None:
    async with region(tmp_path, PathSettings(local_address="192.0.2.7")) as here:
        here.path.send([alarm(1)])
        await asyncio.sleep(0.3)
        assert (here.path.is_up, here.path.repeats.waiting, here.path.counts["socket"]) == (False, 1, 0)


@pytest.mark.anyio
async def test_where_packets_are_too_large_for_the_way_smaller_ones_are_sent(tmp_path: Path) -> None:
    async with region(tmp_path) as here:
        await here.until(lambda: here.path.is_up)
        here.path._socket.error_received(OSError(90, "Message too long"))
        sizes: list[int] = []
        here.lossy.tap = lambda datagram, is_up: sizes.append(len(datagram) if is_up else 0)
        here.path.send([alarm(seq) for seq in range(1, 51)])
        await here.until(lambda: here.path.repeats.waiting == 0)
        assert max(sizes) <= SMALL_LIMIT_BYTES


@pytest.mark.anyio
async def test_many_paths_end_without_leaving_a_socket_or_a_task(tmp_path: Path) -> None:
    async with region(tmp_path) as here:
        await here.until(lambda: here.path.is_up)
        before = len(asyncio.all_tasks())
        path = AlarmPath(PathSettings(port=here.port), credentials("edge-home"), PathEvents(lambda _: None))
        running = asyncio.create_task(path.run())
        await here.until(lambda: path.is_up)
        running.cancel()
        await asyncio.wait([running])
        assert len(asyncio.all_tasks()) == before
        assert not path._socket.is_open


def test_what_is_sent_is_marked_expedited_and_may_not_be_fragmented() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hub:
        hub.bind(("127.0.0.1", 0))
        hub.settimeout(2)
        hub.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        with open_socket(socket.AF_INET, hub.getsockname(), PathSettings()) as node:
            node.send(b"x")
            _, told, _, _ = hub.recvmsg(10, 100)
            assert node.getsockopt(socket.IPPROTO_IP, 10) == 2
    assert [data[0] >> 2 for level, kind, data in told if (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS)] == [46]
