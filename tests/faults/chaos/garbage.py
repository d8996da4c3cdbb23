"""What nobody can read, said in the node's name: bytes at random, and records whose payload is none (fault 15).

Every second record of a stream of its own is unreadable, the others are sound: the stream must go on past them.
"""

import os
import time
from dataclasses import dataclass, field
from random import Random

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from telemed import wire
from telemed.topics import STORED, NodeAddress, Up
from telemed.v1 import sample_pb2
from telemed.wire import Kind, Record, Stamp, pack, seal

from edge_node.errors import ConfigRefused
from edge_node.uplink.certificates import CertificateFolder
from tests.faults.chaos import invariants
from tests.faults.chaos.place import CLINIC, NODE, PORTS
from tests.faults.chaos.seen import HubSeen, StreamKey, Violation
from tests.faults.chaos.world import World
from tests.region.region import REGION

STREAM = "mon-babble/numeric"
EVERY_S = (0.4, 1.5)
TIMEOUT_S = 2.0
FINAL_LIMIT_S, LOOK_EVERY_S = 15.0, 0.3
NAME = "15 unreadable messages"


@dataclass(slots=True)
class Garbage:
    """Says it; used by one thread at a time."""

    world: World
    seed: str
    records: list[Record] = field(default_factory=list)
    """All of the stream so far: number n at index n - 1, the odd ones unreadable."""
    epoch: int = field(default_factory=lambda: int.from_bytes(os.urandom(8)))

    def throw(self) -> None:
        """Say some more, and again what was said before; where there is no broker nobody hears it."""
        self.records += [self._record(len(self.records) + 1, is_sound=False)]
        self.records += [self._record(len(self.records) + 1, is_sound=True)]
        draw = Random(f"{self.seed}/garbage/{len(self.records)}")
        noise = [(draw.choice((*STORED, Up.HELLO, Up.PRESENCE, Up.SIGNAL)), draw.randbytes(draw.randint(1, 300)))]
        self._publish([*noise, (Up.VITALS, wire.encode(self.records))])

    def missing(self, hub: HubSeen) -> list[Violation]:
        """Return what is wrong with how the hub took it, see `invariants.unreadable_is_set_aside`."""
        return invariants.unreadable_is_set_aside(self.key, len(self.records), hub)

    def until_taken(self) -> None:
        """Repeat everything until the hub has it, at most so long; the look that follows finds what it has not."""
        until_s = time.monotonic() + FINAL_LIMIT_S
        while self.records and time.monotonic() < until_s:
            self._publish([(Up.VITALS, wire.encode(self.records))])
            time.sleep(LOOK_EVERY_S)
            with self.world.reading:
                hub = self.world.reader.hub_whatever(self.world.place.hub_folder, NODE)
            if not self.missing(hub):
                return

    @property
    def key(self) -> StreamKey:
        """The stream's name and epoch."""
        return STREAM, f"{self.epoch:016x}"

    def _record(self, seq: int, *, is_sound: bool) -> Record:
        now_ns = time.time_ns()
        sample = sample_pb2.NumericSet(measured_at_unix_ns=now_ns, origin=sample_pb2.ORIGIN_LIVE)
        sample.values.add(measure="hr", value="70", unit="/min", quality=sample_pb2.QUALITY_VALID)
        codec, payload = pack(sample.SerializeToString() if is_sound else b"\xff\xff no message")
        stamp = Stamp(now_ns, time.monotonic_ns(), 7, 0, wire.OFFSET_UNKNOWN_MS)
        return seal(
            stream=STREAM,
            kind=Kind.NUMERIC_SET,
            epoch=self.epoch,
            seq=seq,
            stamp=stamp,
            codec=codec,
            payload=payload,
        )

    def _publish(self, messages: list[tuple[Up, bytes]]) -> None:
        place = self.world.place
        address = NodeAddress(REGION, CLINIC.site, NODE)
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"{NODE}.babble", clean_session=True)
        try:
            if self.world.known_by == "secrets":
                client.username_pw_set(NODE, (place.folder / f"{NODE}-secret").read_text())
            else:
                client.tls_set_context(CertificateFolder(place.edge_folder / "pki").tls())
            with place.link.inside("hub"):
                client.connect(place.link.hub_address, PORTS["broker"])
            client.loop_start()
            for what, payload in messages:
                client.publish(address.up(what), payload, qos=1).wait_for_publish(TIMEOUT_S)
            client.disconnect()
        except (OSError, RuntimeError, ValueError, ConfigRefused):
            return
        finally:
            client.loop_stop()
