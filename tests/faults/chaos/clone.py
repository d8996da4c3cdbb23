"""A second machine that goes on from a copy of the node's store, as after a disk was cloned (fault 16)."""

import contextlib
import itertools
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from edge_node.devices.hl7_monitor import mllp
from tests.fakes.sealed_store import copy_keys
from tests.faults.chaos import invariants
from tests.faults.chaos.nursery import Unhealthy
from tests.faults.chaos.place import BEDS, CLINIC, NODE, PORTS
from tests.faults.chaos.seen import HubSeen, Violation
from tests.faults.chaos.sender import Bed, message_of
from tests.faults.chaos.world import READY_LIMIT_S, World

NAME = "16 duplicate node"
FOUND_LIMIT_S, SAY_EVERY_S, ANSWER_LIMIT_S = 40.0, 0.2, 2.0
ANSWER_BYTES = 65536
PAGE_PORT, HL7_PORT = 8091, 2576


def lives_beside(world: World, before: HubSeen) -> list[Violation]:
    """Let both machines live until the hub has noticed, at most so long, and kill all; return what is wrong.

    All are dead when it is called; the stores are of no use to anybody afterwards.
    """
    shutil.copytree(world.place.edge_folder, world.scratch / "clone", dirs_exist_ok=True)
    copy_keys(world.place.edge_folder, world.scratch / "clone")
    world.start_all()
    world.send_messages()
    try:
        with _second(world):
            found = _until_noticed(world, before)
    finally:
        world.stop_messages()
        world.kill_all()
    return found


def _until_noticed(world: World, before: HubSeen) -> list[Violation]:
    until_s = time.monotonic() + FOUND_LIMIT_S
    for number in itertools.count(1):
        with contextlib.suppress(OSError):
            _say(world, number)
        with world.reading:
            found = invariants.clone_is_found(before, world.reader.hub_whatever(world.place.hub_folder, NODE))
        if not found or time.monotonic() > until_s:
            return found
        time.sleep(SAY_EVERY_S)
    raise AssertionError


@contextmanager
def _second(world: World) -> Iterator[None]:
    """Hold the second machine while the block runs."""
    place = world.place
    text = (place.folder / world.config("edge")).read_text()
    for old, new in (
        (f'folder = "{NODE}-buffer"', f'folder = "{world.scratch / "clone"}"'),
        (f"port = {PORTS[f'{NODE}.hl7']}\n", f"port = {HL7_PORT}\n"),
        (f"port = {PORTS[f'{NODE}.page']}\n", f"port = {PAGE_PORT}\n"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (place.folder / "clone.toml").write_text(text)
    edge = world.actors["edge"]
    life = edge.nursery.start(["serve", "--config", "clone.toml"], place.folder, log=edge.log)
    try:
        if not edge.nursery.until_serving(life, READY_LIMIT_S["edge"]):
            raise Unhealthy(f"the second machine ended at its start: {world.last_words('edge')}")
        yield
    finally:
        edge.nursery.kill(life)
        shutil.rmtree(world.scratch / "clone", ignore_errors=True)


def _say(world: World, number: int) -> None:
    """Let a monitor tell the second machine something that the first does not know."""
    bed = Bed(f"mon-{BEDS[0].lower()}", CLINIC.eui64(BEDS[0]), CLINIC.patient_id(BEDS[0]))
    with world.place.link.inside("edge"), socket.socket() as line:
        line.settimeout(ANSWER_LIMIT_S)
        line.connect(("127.0.0.1", HL7_PORT))
        line.sendall(mllp.wrap(message_of(bed, f"clone-{number:06d}", number)))
        line.recv(ANSWER_BYTES)
