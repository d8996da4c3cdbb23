"""Hub and nodes of the datagram bench, each in a process of its own.

    python -m bench.datagram_sides hub CANDIDATE PORT FOLDER
    python -m bench.datagram_sides nodes CANDIDATE PORT SESSIONS ALARMS SPACING_S IS_COLD

Both write one JSON object when they end: the hub when its standard input is closed, the nodes when all alarms are
receipted or the time is up.  Times are of CLOCK_MONOTONIC, which all processes of a machine share.
"""

import asyncio
import json
import secrets
import sys
import time
from pathlib import Path

import uvloop
from telemed import wire
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, uplink_pb2
from telemed.wire import Codec, Kind, Record, Stamp

from bench.quic import QuicHub, QuicPath
from cloud_hub.ingest.datagram import DatagramServer, listen
from cloud_hub.ingest.datagram_proof import SecretProver
from cloud_hub.ingest.receipts import receipt
from cloud_hub.store.watermarks import Watermark
from edge_node.uplink.datagram import AlarmPath, PathEvents
from edge_node.uplink.datagram_socket import PathSettings
from edge_node.uplink.session import Credentials

MOST_SESSIONS = 64
COMMIT_S = 0.005
"""How long the hub takes to commit here; the same for both candidates."""
ALARM_BYTES = 300
EPOCH = 0xFEDC_BA98_7654_3210
STREAM = "node/alarm"
GIVE_UP_S = 60.0


def name_of(number: int) -> str:
    """Return the name of a node."""
    return f"edge-{number}"


def secret_of(number: int) -> str:
    """Return its secret; good enough for a bench on loopback."""
    return f"secret-of-{number}"


def write_secrets(folder: Path) -> Path:
    """Write a secrets file for all nodes there may be."""
    entries: dict[str, dict[str, str]] = {"hub": {"secret": "hub"}}
    for number in range(MOST_SESSIONS):
        entries[name_of(number)] = {"secret": secret_of(number), "region": "baoshan", "site": f"site-{number}"}
    path = folder / "secrets.json"
    path.write_text(json.dumps(entries))
    return path


class BenchHub:
    """Counts arrivals and gives receipts COMMIT_S later."""

    def __init__(self, candidate: str) -> None:
        self.candidate = candidate
        self.arrived_s: dict[str, dict[int, float]] = {}
        self._marks: dict[str, Watermark] = {}
        self._quic = QuicHub(self.take)
        self._dtls: DatagramServer | None = None

    async def open(self, port: int, folder: Path) -> None:
        """Begin to serve on loopback."""
        if self.candidate == "quic":
            await self._quic.open(port)
            return
        prover = SecretProver(write_secrets(folder))
        self._dtls = DatagramServer(prover, lambda node, _up, container: self.take(node.node, container))
        self._serving = asyncio.ensure_future(self._dtls.run(listen("127.0.0.1", port)))

    def take(self, node: str, container: bytes) -> None:
        """Note arrivals; receipts follow."""
        now_s = time.monotonic()
        seqs = [record.seq for record in wire.decode(container)]
        arrived = self.arrived_s.setdefault(node, {})
        for seq in seqs:
            arrived.setdefault(seq, now_s)
        asyncio.get_running_loop().call_later(COMMIT_S, self._committed, node, seqs)

    def _committed(self, node: str, seqs: list[int]) -> None:
        mark = self._marks[node] = self._marks.get(node, Watermark()).plus(seqs)
        told = uplink_pb2.Receipts(receipts=[receipt(STREAM, EPOCH, mark)], hub_unix_ns=time.time_ns())
        if self._dtls is None:
            self._quic.publish(node, told)
        else:
            self._dtls.publish(NodeAddress("baoshan", f"site-{node.removeprefix('edge-')}", node), told)


class BenchNode:
    """One session and its alarms."""

    def __init__(self, candidate: str, port: int, number: int) -> None:
        self.name = name_of(number)
        self.sent_s: dict[int, float] = {}
        self.receipted_s: dict[int, float] = {}
        self.up_s: float | None = None
        self.path: AlarmPath | QuicPath
        if candidate == "quic":
            self.path = QuicPath(self.name, port, self._heard)
        else:
            settings, events = PathSettings(port=port), PathEvents(self._heard)
            self.path = AlarmPath(settings, Credentials(self.name, secret_of(number)), events)

    def send(self, seq: int) -> None:
        """Send one alarm."""
        self.sent_s[seq] = time.monotonic()
        self.path.send([alarm(seq)])

    async def until_up(self) -> None:
        """Wait for the session."""
        while not self.path.is_up:  # noqa: ASYNC110 - neither candidate has an event for it
            await asyncio.sleep(0.001)

    async def until_receipted(self, count: int) -> None:
        """Wait for the receipts of so many alarms."""
        while len(self.receipted_s) < count:  # noqa: ASYNC110 - the bench looks from outside
            await asyncio.sleep(0.001 if count == 1 else 0.01)

    def _heard(self, message: uplink_pb2.Receipts) -> None:
        now_s = time.monotonic()
        for told in message.receipts:
            for seq in self.sent_s.keys() - self.receipted_s.keys():
                in_gap = any(gap.first <= seq <= gap.last for gap in told.gaps)
                if seq <= told.max and not in_gap:
                    self.receipted_s[seq] = now_s


def alarm(seq: int) -> Record:
    """Return an alarm record of ALARM_BYTES on the wire, head and stream name included."""
    step = alarm_pb2.AlarmEvent(alarm_id=f"0190-{seq}", alarm_seq=seq, phase=alarm_pb2.PHASE_START)
    body = step.SerializeToString() + secrets.token_bytes(ALARM_BYTES)
    payload = body[: ALARM_BYTES - wire.HEAD_BYTES - len(STREAM) - 1]
    stamp = Stamp(time.time_ns(), time.monotonic_ns(), 1)
    return wire.seal(
        stream=STREAM, kind=Kind.ALARM_EVENT, epoch=EPOCH, seq=seq, stamp=stamp, codec=Codec.PLAIN, payload=payload
    )


async def _hub(candidate: str, port: int, folder: Path) -> None:
    hub = BenchHub(candidate)
    await hub.open(port, folder)
    began_s = time.process_time()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps({"arrived_s": hub.arrived_s, "cpu_s": time.process_time() - began_s}), flush=True)


async def _nodes(candidate: str, port: int, sessions: int, alarms: int, spacing_s: float, *, is_cold: bool) -> None:
    nodes = [BenchNode(candidate, port, number) for number in range(sessions)]
    began_s = time.monotonic()
    if is_cold:
        for node in nodes:
            node.send(1)
    running = [asyncio.ensure_future(node.path.run()) for node in nodes]
    if not is_cold:
        await asyncio.gather(*(node.until_up() for node in nodes))
    print("up", flush=True)
    cpu_s = time.process_time()
    if not is_cold:
        for seq in range(1, alarms + 1):
            for node in nodes:
                node.send(seq)
                await asyncio.sleep(spacing_s / sessions)
    try:
        async with asyncio.timeout(GIVE_UP_S):
            await asyncio.gather(*(node.until_receipted(1 if is_cold else alarms) for node in nodes))
    except TimeoutError:
        pass
    cpu_s = time.process_time() - cpu_s
    for task in running:
        task.cancel()
    out = {node.name: {"sent_s": node.sent_s, "receipted_s": node.receipted_s} for node in nodes}
    print(json.dumps({"nodes": out, "cpu_s": cpu_s, "began_s": began_s}), flush=True)


def main() -> None:
    """Be one side."""
    side, candidate, port, *more = sys.argv[1:]
    if side == "hub":
        uvloop.run(_hub(candidate, int(port), Path(more[0])))
    else:
        sessions, alarms, spacing_s, cold = int(more[0]), int(more[1]), float(more[2]), more[3] == "cold"
        asyncio.run(_nodes(candidate, int(port), sessions, alarms, spacing_s, is_cold=cold))


if __name__ == "__main__":
    main()
