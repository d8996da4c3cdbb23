"""What the node knows of its own health, and how it is exported."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from telemed.v1 import uplink_pb2

LAG_EVERY_S = 0.5


@dataclass(slots=True)
class LoopLag:
    """How late the event loop is: the worst of the last minute, in seconds."""

    worst_s: float = 0.0
    _recent_s: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self._recent_s = [*self._recent_s[-119:], max(0.0, loop.time() - due_s)]
            self.worst_s = max(self._recent_s)


@dataclass(frozen=True, slots=True)
class PathFigures:
    """How one way of the alarms' datagrams stands."""

    way: str
    """Interface or address that it is bound to; "route" where the routes decide."""
    is_up: bool
    round_trip_s: float | None
    waiting: int
    """Alarms that are repeated on it."""
    counts: Mapping[str, int]
    """What became of its datagrams, by a word each."""


@dataclass(frozen=True, slots=True)
class Health:
    """Where the figures come from; every function is cheap."""

    not_ready: Callable[[], list[str]]
    """Names of the parts that cannot serve yet; empty = ready."""
    waiting: Callable[[], Mapping[str, int]]
    """Records that wait for the hub, by class."""
    hours_left: Callable[[], float | None]
    alarms: Callable[[], Mapping[str, int]]
    """Standing alarms by priority."""
    link: Callable[[], str]
    hl7: Callable[[], Mapping[str, int | Mapping[str, int]]]
    """Counters of the HL7 receiver; a mapping is one counter with a label."""
    alarm_paths: Callable[[], list["PathFigures"]]
    radios: Callable[[], list[tuple[uplink_pb2.Radio, Mapping[str, int]]]]
    """What each modem sees, and how often what changed."""
    lag: LoopLag
    pages: Callable[[], int]


class _Figures(Collector):
    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        """Return the figures of this moment."""
        health = self._health
        yield _labelled("edge_waiting_records", "Records that the hub has not acknowledged", "class", health.waiting())
        yield _labelled("edge_alarms", "Alarms whose condition stands", "priority", health.alarms())
        hours = health.hours_left()
        if hours is not None:
            yield GaugeMetricFamily("edge_buffer_hours", "Hours of buffer left at the present rate", hours)
        state = health.link()
        links = {name: int(name == state) for name in ("live", "weak", "lost", "never")}
        yield _labelled("edge_link_state", "State of the link to the hub", "state", links)
        yield GaugeMetricFamily("edge_loop_lag_seconds", "Worst lateness of the loop in a minute", health.lag.worst_s)
        yield GaugeMetricFamily("edge_pages", "Bedside pages that are open", health.pages())
        yield from _path_figures(health.alarm_paths())
        yield from _radio_figures(health.radios())
        yield from _counters(health.hl7())


def _path_figures(paths: list[PathFigures]) -> Iterator[Metric]:
    yield _labelled("edge_alarm_path_up", "Datagram path: heard lately", "way", {p.way: int(p.is_up) for p in paths})
    waiting = {path.way: path.waiting for path in paths}
    yield _labelled("edge_alarm_path_waiting", "Alarms repeated on a datagram path", "way", waiting)
    trips = GaugeMetricFamily("edge_alarm_path_round_trip_seconds", "Latest round trip", labels=["way"])
    counts = CounterMetricFamily("edge_alarm_path", "Datagrams and sessions of a path", labels=["way", "what"])
    for path in paths:
        if path.round_trip_s is not None:
            trips.add_metric([path.way], path.round_trip_s)
        for what, count in path.counts.items():
            counts.add_metric([path.way, what], count)
    yield from (trips, counts)


def _radio_figures(radios: list[tuple[uplink_pb2.Radio, Mapping[str, int]]]) -> Iterator[Metric]:
    state = GaugeMetricFamily("edge_modem_state", "What the modem is doing", labels=["path", "state", "technology"])
    bars = GaugeMetricFamily("edge_modem_bars", "Bars as a phone shows them, 0 to 4", labels=["path"])
    power = GaugeMetricFamily("edge_modem_rsrp_dbm", "Reference signal of the serving cell", labels=["path"])
    slot = GaugeMetricFamily("edge_modem_sim_slot", "SIM slot in use", labels=["path"])
    changed = CounterMetricFamily("edge_modem_changes", "Changes of cell, technology, SIM", labels=["path", "what"])
    for radio, counts in radios:
        state.add_metric([radio.path, radio.state, radio.technology], 1)
        if radio.bars >= 0:
            bars.add_metric([radio.path], radio.bars)
        if radio.rsrp_dbm:
            power.add_metric([radio.path], radio.rsrp_dbm)
        if radio.sim_slot:
            slot.add_metric([radio.path], radio.sim_slot)
        for what, count in counts.items():
            changed.add_metric([radio.path, str(what)], count)
    yield from (state, bars, power, slot, changed)


def _labelled(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counters(values: Mapping[str, int | Mapping[str, int]]) -> Iterator[Metric]:
    for name, value in values.items():
        if isinstance(value, int):
            yield CounterMetricFamily(f"edge_hl7_{name}", f"HL7 receiver: {name}", value)
            continue
        family = CounterMetricFamily(f"edge_hl7_{name}", f"HL7 receiver: {name}", labels=["kind"])
        for key, count in value.items():
            family.add_metric([str(key)], count)
        yield family


def register(health: Health, registry: CollectorRegistry) -> None:
    """Add the node's figures to a registry."""
    registry.register(_Figures(health))
