"""The actors of a run as processes: started, killed, stopped and asked, one of each at a time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from tests.faults.chaos import clock, place
from tests.faults.chaos.access import Access
from tests.faults.chaos.child import Wishes
from tests.faults.chaos.ledger import Ledger, Tail
from tests.faults.chaos.nursery import ROOT, Life, Nursery, Unhealthy, catches
from tests.faults.chaos.place import CLINIC, NODE, PORTS, Place, config_of
from tests.faults.chaos.reading import Reader

MODULES = {"edge": "edge_node", "hub": "cloud_hub"}
ACTORS = ("edge", "hub", "broker")
PRISTINE = "pristine"
"""Folder of what edge and hub have before their first start."""
READY_LIMIT_S = {"edge": 60.0, "hub": 60.0, "broker": 60.0}
"""Only to find who hangs: on a machine that is busy with other things a start takes many times as long."""
ASK_LIMIT_S = 20.0
REFUSED_STATUS = 1
SEND_INTERVAL_S = 0.06
RETENTION_HOUR = "edge_node.buffer.retention:HOUR_NS"
SCALED = {
    "edge_node.buffer.store:SAVE_EVERY_S": 0.4,
    "edge_node.buffer.store:SWEEP_EVERY_S": 0.5,
    RETENTION_HOUR: 200_000_000,
    "edge_node.uplink.transfer.client:WATCH_EVERY_S": 0.2,
    "edge_node.uplink.second_way:LOOK_EVERY_S": 0.1,
    "edge_node.uplink.reconcile.nightly:LOOK_EVERY_S": 0.2,
    "edge_node.uplink.enrolment.renewal:LOOKS_IN_A_LIFE": 12,
    "edge_node.uplink.schedule:BULK_FROM_BPS": 64_000,
}
"""Intervals of the edge that would not pass between two crashes; an hour of retention is 0.2 s.  Downloads go from a
rate on that a link is believed to have at its beginning: no life is long enough to find out that it has more."""
AT_HUB = {"cloud_hub.rpc.doorway:PER_SOURCE_S": 20.0}
"""Certificates that live for seconds are renewed as much oftener."""


@dataclass(slots=True)
class Actor:
    """One of the three, and the life that it has now."""

    name: str
    nursery: Nursery
    log: Path
    wishes: Wishes = field(default_factory=Wishes)
    """How all its lives differ from the program as shipped."""
    life: Life | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it has a life that has not ended."""
        return self.life is not None and not self.life.is_over


class World:
    """Everything that runs; made by `living`.  Each actor is handled by one thread at a time."""

    def __init__(self, at: Place, nurseries: dict[str, Nursery], broker: str, scratch: Path) -> None:
        self.place = at
        self.broker_kind = broker
        self.scratch = scratch
        self.clock_file = scratch / "clock"
        self.peaks_file = scratch / "peaks"
        clock.set_wrong_by(self.clock_file, 0)
        self.actors = {name: Actor(name, nursery, scratch / f"{name}.log") for name, nursery in nurseries.items()}
        self.actors["edge"].wishes = Wishes(paces=dict(SCALED), clock=str(self.clock_file), peaks=str(self.peaks_file))
        self.actors["hub"].wishes = Wishes(paces=dict(AT_HUB))
        self.may_refuse: set[str] = set()
        """Actors that may end with an error by themselves, to be started again as a service would be: disk full."""
        self.known_by: Access = "secrets"
        """How the hub knows its node."""
        self.has_models = False
        """Whether the edge's lives from now on run models."""
        self._is_hasty = False
        self.reader = Reader(scratch / "copies")
        self.reading = threading.Lock()
        """One look at a time: two would share the scratch folder."""
        self.ledger = Ledger()
        self._ledger_file = scratch / "ledger.jsonl"
        self._tail = Tail()
        self._read_to = 0
        self._sender: subprocess.Popen[bytes] | None = None

    def start(self, name: str, **changes: object) -> Life:
        """Start an actor; returns at once.  `changes` are wishes for this life alone."""
        actor = self.actors[name]
        assert not actor.is_alive, f"{name} lives already"
        wishes = replace(actor.wishes, **changes)  # type: ignore[arg-type]
        program: list[str] = []
        arguments = [] if name == "broker" else ["serve", "--config", self.config(name)]
        if name == "broker":
            program, arguments = self._broker_command()
        actor.life = actor.nursery.start(arguments, self.place.folder, wishes, log=actor.log, program=program)
        return actor.life

    def until_serving(self, name: str) -> bool:
        """Wait until an actor can serve; False where it died before.

        Raises:
            Unhealthy: neither in time, or it ended by itself.
        """
        actor = self.actors[name]
        life = self._life(name)
        if name == "broker" and self.broker_kind == "mosquitto":
            self._until_listening(life)
            return not life.is_over
        try:
            is_serving = actor.nursery.until_serving(life, READY_LIMIT_S[name])
        except Unhealthy as error:
            lives = {other.name: other.life for other in self.actors.values() if other.life is not None}
            gone = [f"{other} ended with {each.status}" for other, each in lives.items() if each.is_over]
            raise Unhealthy("; ".join([str(error), *gone, self.last_words(name)])) from error
        if not is_serving and not self._has_reason(name, life):
            raise Unhealthy(f"{name} ended at its start with status {life.status}: {self.last_words(name)}")
        return is_serving

    def until_dead(self, name: str, limit_s: float) -> bool:
        """Wait until an actor has died, at most so long.

        Raises:
            Unhealthy: it ended, but not because it was killed.
        """
        life = self._life(name)
        if not self.actors[name].nursery.until_over(life, limit_s):
            return False
        self._note_end(name, life)
        return True

    def kill(self, name: str) -> None:
        """Kill an actor and wait until it is gone; one that is dead stays so."""
        actor = self.actors[name]
        if actor.life is None:
            return
        actor.nursery.kill(actor.life)
        self._note_end(name, actor.life)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to an actor that lives."""
        self.actors[name].nursery.send(self._life(name), number)

    def start_all(self) -> None:
        """Start what is dead and wait until everything serves."""
        dead = [name for name in ("broker", "hub", "edge") if not self.actors[name].is_alive]
        for name in dead:
            self.start(name)
        for name in dead:
            if not self.until_serving(name):
                raise Unhealthy(f"{name} died at its start: {self.last_words(name)}")

    def kill_all(self) -> None:
        """Kill all three, as nearly at once as signals go."""
        for name in ACTORS:
            life = self.actors[name].life
            if life is not None:
                self.actors[name].nursery.send(life, signal.SIGKILL)
        for name in ACTORS:
            self.kill(name)

    def keep_sent(self, *, is_long: bool) -> None:
        """Say whether the node keeps what the hub has for a day, in all lives from now on, or for some seconds.

        A hub that goes on from a backup needs the copies, and for a clock that jumps an hour must be an hour; in all
        other episodes rows are deleted meanwhile.
        """
        edge = self.actors["edge"]
        paces = {name: value for name, value in SCALED.items() if not (is_long and name == RETENTION_HOUR)}
        edge.wishes = replace(edge.wishes, paces=paces)

    @contextmanager
    def hasty(self) -> Iterator[None]:
        """Let the edge's lives that begin while the block runs take the second way soon: they have no other."""
        self._is_hasty = True
        try:
            yield
        finally:
            self._is_hasty = False

    def config(self, name: str) -> str:
        """Return the name of the configuration by which an actor's lives begin now."""
        if name != "edge":
            return config_of(name, self.known_by)
        return config_of(name, self.known_by, is_hasty=self._is_hasty, has_models=self.has_models)

    def command(self, name: str, *arguments: str, before: Sequence[str] = ()) -> list[str]:
        """Run a command of the edge or the hub beside it to its end and return the lines that it printed.

        Args:
            name: edge or hub.
            arguments: the command and what it is told.
            before: a program, with its arguments, that runs the command.

        Raises:
            Unhealthy: it ended with an error, or not in time.
        """
        actor = self.actors[name]
        told = [arguments[0], "--config", self.config(name), *arguments[1:]]
        program = [*before, sys.executable, "-m", MODULES[name], *told] if before else []
        life = actor.nursery.start(told, self.place.folder, log=actor.log, program=program)
        actor.nursery.until_over(life, READY_LIMIT_S[name])
        if life.status != 0:
            raise Unhealthy(f"{name} {arguments[0]} ended with {life.status}: {self.last_words(name)}")
        return life.lines

    def clear_away(self) -> None:
        """Kill all three whatever state they are in, and forget how they ended: that was told already."""
        for actor in self.actors.values():
            if actor.life is not None:
                actor.nursery.kill(actor.life)
                actor.life = None

    def send_messages(self, interval_s: float = SEND_INTERVAL_S) -> None:
        """Start the monitors with an empty ledger."""
        self.stop_messages()
        self.ledger, self._tail, self._read_to = Ledger(), Tail(), 0
        self._ledger_file.unlink(missing_ok=True)
        orders = self.scratch / "sender.json"
        orders.write_text(json.dumps(place.sender_orders(self.place.bedside.address, self._ledger_file, interval_s)))
        with (self.scratch / "sender.log").open("ab") as log:
            self._sender = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.chaos.sender", str(orders)],
                stdin=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", "OPENBLAS_NUM_THREADS": "1"},
            )

    def stop_messages(self) -> None:
        """End the monitors; what they had not been promised is forgotten."""
        if self._sender is None:
            return
        assert self._sender.stdin is not None
        self._sender.stdin.close()
        status = self._sender.wait(10)
        self._sender = None
        if status != 0:
            raise Unhealthy(f"the sender ended with status {status}")

    def read_ledger(self) -> Ledger:
        """Return the ledger as far as it is written now."""
        if self._ledger_file.exists():
            with self._ledger_file.open() as file:
                file.seek(self._read_to)
                read = file.read()
                self._read_to = file.tell()
            self.ledger.take(self._tail.lines(read))
        return self.ledger

    def metrics(self, end: str) -> dict[str, float]:
        """Return the figures of the edge or the hub; raises Unhealthy where it does not answer."""
        port = PORTS["web"] if end == "hub" else PORTS[f"{NODE}.page"]
        try:
            with self.place.link.inside("hub" if end == "hub" else "edge"):
                answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=ASK_LIMIT_S)
        except httpx.TransportError as error:
            raise Unhealthy(f"{end}: /metrics: {type(error).__name__}") from error
        if answer.status_code != httpx.codes.OK:
            raise Unhealthy(f"{end}: /metrics: status {answer.status_code}")
        rows = [line.rpartition(" ") for line in answer.text.splitlines() if line and line[0] != "#"]
        return {name: float(value) for name, _, value in rows}

    def waiting(self) -> float:
        """Return how many records wait at the edge, as it says itself."""
        return sum(value for name, value in self.metrics("edge").items() if name.startswith("edge_waiting_records"))

    def until_drained(self, limit_s: float) -> float:
        """Wait until nothing waits at the edge; return how long it took, seconds.

        Raises:
            Unhealthy: something still waits, and for so long it did not become less.
        """
        began_s = least_s = time.monotonic()
        least = float("inf")
        while waiting := self.waiting():
            if waiting < least:
                least, least_s = waiting, time.monotonic()
            if time.monotonic() - least_s > limit_s:
                raise Unhealthy(f"{waiting:.0f} records wait at the edge, no fewer than {limit_s:g} s ago")
            time.sleep(0.1)
        return time.monotonic() - began_s

    def memory_bytes(self, name: str) -> int:
        """Return the resident memory of an actor; 0 if it is gone."""
        try:
            pages = int(Path(f"/proc/{self._life(name).pid}/statm").read_text().split()[1])
        except OSError:
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def last_words(self, name: str) -> str:
        """Return the end of an actor's log."""
        log = self.actors[name].log
        return log.read_text(errors="replace")[-1500:] if log.exists() else "it said nothing"

    def close(self) -> None:
        """End everything."""
        try:
            self.stop_messages()
        finally:
            for actor in self.actors.values():
                actor.nursery.close()

    def _life(self, name: str) -> Life:
        life = self.actors[name].life
        assert life is not None, f"{name} was never started"
        return life

    def was_killed(self, name: str) -> bool:
        """Whether the life that an actor had last ended by SIGKILL."""
        return self._life(name).was_killed

    def _has_reason(self, name: str, life: Life) -> bool:
        return life.was_killed or (name in self.may_refuse and life.status == REFUSED_STATUS)

    def _note_end(self, name: str, life: Life) -> None:
        if not self._has_reason(name, life):
            raise Unhealthy(f"{name} ended by itself with status {life.status}: {self.last_words(name)}")

    def _broker_command(self) -> tuple[list[str], list[str]]:
        if self.broker_kind == "mosquitto":
            return self.place.write_broker(self.known_by), []
        secrets = self.place.hub_folder / "broker-secrets.json"
        where = [f"--host={self.place.link.hub_address}", f"--port={PORTS['broker']}", f"--secrets={secrets}"]
        return [], where

    def _until_listening(self, life: Life) -> None:
        until_s = time.monotonic() + READY_LIMIT_S["broker"]
        process = self.actors["broker"].nursery.process_of(life)
        # A Mosquitto listens before it hears signals: told in between that its settings are others, it would end.
        while not (self._listens() and catches(process, signal.SIGHUP)):
            if life.is_over or time.monotonic() > until_s:
                raise Unhealthy(f"the broker does not listen: {self.last_words('broker')}")
            time.sleep(0.01)
        self.place.broker_listens(process)

    def _listens(self) -> bool:
        import socket  # noqa: PLC0415

        with self.place.link.inside("hub"), socket.socket() as probe:
            return probe.connect_ex((self.place.link.hub_address, PORTS["broker"])) == 0


@contextmanager
def living(folder: Path, seed: int, broker: str, preload: str = "") -> Iterator[World]:
    """Hold a world whose template is made; nobody runs yet.

    Args:
        folder: where everything lies; made.
        seed: of the relay's losses.
        broker: mosquitto or amqtt.
        preload: a library that edge and hub are started with.

    Raises:
        relay.namespaces.Unavailable: this machine has no namespaces or TUN.
    """
    with ExitStack() as undo:
        at = undo.enter_context(place.made(folder / "region", seed))
        scratch = folder / "scratch"
        scratch.mkdir()
        nurseries = {name: _nursery(name, at, preload) for name in ACTORS}
        world = World(at, nurseries, broker, scratch)
        undo.callback(world.close)
        for nursery in nurseries.values():
            nursery.until_ready()
        at.store_template(scratch / PRISTINE)
        make_template(world, "secrets")
        yield world


def _nursery(name: str, at: Place, preload: str) -> Nursery:
    environment = {"LD_PRELOAD": preload} if preload and name != "broker" else {}
    return Nursery(name, environment, lambda: at.link.inside("edge" if name == "edge" else "hub"))


def make_template(world: World, known_by: Access) -> None:
    """Let edge and hub live once until they know each other, and keep what they have as everybody's beginning."""
    world.known_by = known_by
    world.place.begin_anew(world.scratch / PRISTINE)
    if known_by != "secrets":
        enrol(world)
    world.command("edge", "admit", "--from", "admissions.toml")
    world.start_all()
    until(lambda: world.waiting() == 0, 20, "the admissions are at the hub")
    for name in ("edge", "hub"):
        _stop_politely(world, name)
    world.kill("broker")
    world.place.store_template(_template(world, known_by))


def enrol(world: World, before: Sequence[str] = ()) -> None:
    """Let an operator invite the node and the node fetch a certificate; hub and broker are started if they are dead.

    `before` is a program, with its arguments, that runs the node's command.
    """
    for name in ("broker", "hub"):
        if not world.actors[name].is_alive:
            world.start(name)
    for name in ("broker", "hub"):
        world.until_serving(name)
    *_, token = world.command("hub", "nodes", "invite", CLINIC.site, NODE)
    world.command("edge", "enrol", token, before=before)


def begin_anew(world: World, known_by: Access = "secrets") -> None:
    """Put everything back to the template, which is made where it is not there yet; all actors are dead then."""
    world.clear_away()
    world.has_models = False
    clock.set_wrong_by(world.clock_file, 0)
    template = _template(world, known_by)
    if not template.exists():
        make_template(world, known_by)
    world.known_by = known_by
    world.place.begin_anew(template)
    world.peaks_file.unlink(missing_ok=True)
    for path in world.scratch.glob("*.log"):
        path.unlink()
    shutil.rmtree(world.scratch / "copies", ignore_errors=True)
    world.reader = Reader(world.scratch / "copies")


def _template(world: World, known_by: Access) -> Path:
    return world.scratch / f"template-{known_by}"


def _stop_politely(world: World, name: str) -> None:
    actor = world.actors[name]
    assert actor.life is not None
    actor.nursery.send(actor.life, signal.SIGTERM)
    if not actor.nursery.until_over(actor.life, 15) or actor.life.status != 0:
        raise Unhealthy(f"{name} does not stop when asked: {world.last_words(name)}")
    actor.life = None


def until(condition: Callable[[], bool], limit_s: float, what: str) -> None:
    """Wait until a condition holds; raises Unhealthy, with what was waited for, where it does not in time."""
    until_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until_s:
            raise Unhealthy(f"not within {limit_s:g} s: {what}")
        time.sleep(0.05)
