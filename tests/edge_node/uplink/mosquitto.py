"""A real Mosquitto on a free port, and a tiny hub behind it that commits into dictionaries."""

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from telemed import wire
from telemed.topics import STORED, Down, Up, parse_up
from telemed.v1 import event_pb2, uplink_pb2

from tests.fakes.ports import free_port

PROGRAM = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


@dataclass(slots=True)
class Broker:
    folder: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        settings = self.folder / "mosquitto.conf"
        settings.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        self.process = subprocess.Popen([PROGRAM, "-c", str(settings)], stderr=subprocess.DEVNULL)
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise RuntimeError("mosquitto did not start")

    def stall(self) -> None:
        """Stand still with all connections open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    broker = Broker(folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


class TinyHub:
    """Commits records into dictionaries and sends receipts; can be made to forget and to lose messages."""

    def __init__(self, port: int) -> None:
        self.records: dict[tuple[str, int], dict[int, wire.Record]] = {}
        self.arrivals: list[tuple[str, int]] = []
        self.doubled = 0
        self.hellos: list[uplink_pb2.Hello] = []
        self.presences: list[uplink_pb2.Presence] = []
        self.signals: list[uplink_pb2.Signal] = []
        self.events: list[event_pb2.OrderedEvent] = []
        self.is_deaf = False
        self.run = 1
        """Another number: it began anew while the node stayed connected."""
        self.misses_hellos = 0
        """So many more are lost, as where the hub is not connected yet."""
        self.drop_every = 0
        self._heard = 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="hub", clean_session=True)
        self._client.on_connect = self._subscribe
        self._client.on_message = self._hear
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def seqs(self, stream: str) -> list[int]:
        return sorted(seq for (name, _), found in self.records.items() if name == stream for seq in found)

    def say(self, address: Any, down: Down, message: Any) -> None:
        self._client.publish(address.down(down), message.SerializeToString(), qos=1)

    def _subscribe(self, client: paho.Client, *_: Any) -> None:
        client.subscribe("up/#", 1)

    def _hear(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        address, what = parse_up(message.topic)
        self._heard += what in STORED
        if self.is_deaf or (self.drop_every and what in STORED and self._heard % self.drop_every == 0):
            return
        payload = bytes(message.payload)
        if what in STORED:
            self._commit(address, wire.decode(payload))
        elif what is Up.HELLO and self.misses_hellos:
            self.misses_hellos -= 1
        elif what is Up.HELLO:
            hello = uplink_pb2.Hello.FromString(payload)
            self.hellos.append(hello)
            self._receipt(address, {(state.stream, state.epoch) for state in hello.streams}, self.run)
            page = [event for event in self.events if event.site_seq > hello.event_cursor]
            self.say(address, Down.EVENTS, event_pb2.EventPage(events=page[:2], head=len(self.events)))
        elif what is Up.PRESENCE:
            self.presences.append(uplink_pb2.Presence.FromString(payload))
            echo = self.presences[-1].boottime_ns
            answer = uplink_pb2.HubPresence(
                hub_unix_ns=time.time_ns() + 5 * 10**9, echo_boottime_ns=echo, hub_run=self.run
            )
            self.say(address, Down.PRESENCE, answer)
        else:
            self.signals.append(uplink_pb2.Signal.FromString(payload))

    def _commit(self, address: Any, records: list[wire.Record]) -> None:
        for record in records:
            found = self.records.setdefault((record.stream, record.epoch), {})
            self.arrivals.append((record.stream, record.seq))
            self.doubled += record.seq in found
            found.setdefault(record.seq, record)
        self._receipt(address, {(record.stream, record.epoch) for record in records})

    def _receipt(self, address: Any, streams: set[tuple[str, int]], run: int = 0) -> None:
        receipts = [self._state(*key) for key in sorted(streams)]
        message = uplink_pb2.Receipts(receipts=receipts, hub_unix_ns=time.time_ns(), hub_run=run)
        self.say(address, Down.RECEIPT, message)

    def _state(self, stream: str, epoch: int) -> uplink_pb2.Receipt:
        found = self.records.get((stream, epoch), {})
        top = max(found, default=0)
        missing = [seq for seq in range(1, top) if seq not in found]
        contig = missing[0] - 1 if missing else top
        gaps: list[uplink_pb2.SeqRange] = []
        for seq in missing:
            if gaps and gaps[-1].last == seq - 1:
                gaps[-1].last = seq
            else:
                gaps.append(uplink_pb2.SeqRange(first=seq, last=seq))
        return uplink_pb2.Receipt(stream=stream, epoch=epoch, contig=contig, max=top, gaps=gaps[:32])
