"""Fault 14: the certificate of a node ends or is revoked while it collects; it is refused, returns, loses nothing."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from edge_node.uplink.certificates import CertificateFolder
from tests.faults.chaos import access, clock
from tests.faults.chaos.invariants import certificate_is_refused, nothing_is_stored
from tests.faults.chaos.knock import Orders
from tests.faults.chaos.nursery import ROOT, Unhealthy
from tests.faults.chaos.place import CLINIC, NODE, PORTS
from tests.faults.chaos.seen import HubSeen, Violation
from tests.faults.chaos.steps import AT_RANDOM
from tests.faults.chaos.tally import Counts
from tests.faults.chaos.world import World, enrol, until

EXPIRED, REVOKED, IN_1970 = "14 certificate ended", "14 certificate revoked", "14 enrolled by a clock of 1970"
REFUSED_WITHIN = "a revoked certificate is refused everywhere within"
BEGINNING = "1970-01-01 00:10:00"
COLLECTED, COLLECT_LIMIT_S, DRAIN_LIMIT_S = 40, 60.0, 60.0
"""Messages that are promised meanwhile: the node goes on collecting."""
KNOCK_S, KNOCK_LIMIT_S = 3.0, 60.0
REVOKED_LIMIT_S = 60.0
"""Reliability 4.1."""
UNDER_WAY_S = 1.0
"""What the hub has taken by then it may still be storing."""
HUB_DIES_SHARE = 0.5
"""How often the hub dies just after a revocation was committed, before any listener was told."""


def begin_ended(world: World, counts: Counts) -> list[Violation]:
    """Start everybody with a certificate that has ended and a door that is out of reach; all live afterwards.

    The node must collect, no listener may let it in, and nothing of it may come to the hub.  Then the door is in reach.
    """
    certificates = CertificateFolder(_folder(world))
    until(lambda: is_over(certificates), access.SHORT_LIFE_S + 10, "the certificate has ended")
    with world.place.without_port("door"):
        world.start_all()
        world.send_messages()
        let_in = knock(world, certificates.folder)
        promised = _collected(world, COLLECTED)
        found = [*certificate_is_refused("ended", let_in), *nothing_is_stored(promised, _hub(world))]
    counts.faults[EXPIRED] += 1
    counts.checks["14"] += 1
    return found


def steal(world: World, draw: Random, counts: Counts) -> list[Violation]:
    """Have the operator revoke the certificate of a node that lives, and the clinic enrol it again; all live before.

    The clinic's machine has lost its clock: it shows 1970 until it hears the hub.
    """
    stolen = world.scratch / "stolen"
    shutil.rmtree(stolen, ignore_errors=True)
    shutil.copytree(_folder(world), stolen)
    world.command("hub", "nodes", "revoke", CLINIC.site, NODE, "--reason", "stolen")
    began_s = time.monotonic()
    if draw.random() < HUB_DIES_SHARE:
        world.kill("hub")
        counts.crashes[AT_RANDOM["hub"]] += 1
        world.start("hub")
        world.until_serving("hub")
    found = _refused_soon(world, stolen, began_s, counts)
    if found:
        return found
    time.sleep(UNDER_WAY_S)
    before = _hub(world)
    promised = _collected(world, COLLECTED)
    found = nothing_is_stored(promised - before.sources, _hub(world))
    counts.faults[REVOKED] += 1
    counts.checks["14"] += 1
    if not found:
        _enrol_again(world, counts)
    return found


def is_over(certificates: CertificateFolder) -> bool:
    """Whether a node's certificate has ended."""
    return datetime.now(UTC) > certificates.latest().certificate.not_valid_after_utc


def knock(world: World, certificates: Path) -> dict[str, bool]:
    """Return which of the hub's listeners let in whoever shows these certificates at the edge's end of the link."""
    host = world.place.link.hub_address
    ports = (PORTS["broker"], PORTS["files"], PORTS["datagram"])
    file = world.scratch / "knock.json"
    file.write_text(json.dumps(asdict(Orders(str(certificates), host, *ports, KNOCK_S))))
    log = world.scratch / "knock.log"
    with world.place.link.inside("edge"), log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.chaos.knock", str(file)],
            stdout=subprocess.PIPE,
            stderr=sink,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", "OPENBLAS_NUM_THREADS": "1"},
        )
    said, _ = process.communicate(timeout=KNOCK_LIMIT_S)
    if process.returncode != 0:
        raise Unhealthy(f"nobody could knock: {log.read_text()[-1500:]}")
    return {name: bool(is_in) for name, is_in in json.loads(said.splitlines()[-1]).items()}


def _refused_soon(world: World, stolen: Path, began_s: float, counts: Counts) -> list[Violation]:
    while any((let_in := knock(world, stolen)).values()):
        if time.monotonic() - began_s > REVOKED_LIMIT_S:
            return certificate_is_refused("revoked", let_in)
    counts.took(REFUSED_WITHIN, time.monotonic() - began_s)
    return []


def _enrol_again(world: World, counts: Counts) -> None:
    """Do what a clinic does with a machine whose certificate was revoked and whose clock was lost."""
    world.kill("edge")
    shutil.rmtree(_folder(world))
    faked = shutil.which("faketime")
    # Not by this run's own wrong clock: gRPC's library has another beside it, and a deadline between the two is over.
    enrol(world, before=[faked, "-f", BEGINNING] if faked else ())
    counts.faults[IN_1970] += bool(faked)
    clock.set_wrong_by(world.clock_file, -time.time_ns())
    try:
        world.start("edge")
        world.until_serving("edge")
        waited = frozenset(world.read_ledger().promises)
        until(lambda: waited <= _hub(world).sources, DRAIN_LIMIT_S, "what was collected meanwhile is at the hub")
    finally:
        clock.set_wrong_by(world.clock_file, 0)


def _collected(world: World, count: int) -> frozenset[str]:
    """Wait until so many more messages are promised, and return those."""
    before = frozenset(world.read_ledger().promises)
    until(lambda: len(world.read_ledger().promises) >= len(before) + count, COLLECT_LIMIT_S, "the node collects")
    return frozenset(world.read_ledger().promises) - before


def _hub(world: World) -> HubSeen:
    with world.reading:
        return world.reader.hub_whatever(world.place.hub_folder, NODE)


def _folder(world: World) -> Path:
    return world.place.edge_folder / "pki"
