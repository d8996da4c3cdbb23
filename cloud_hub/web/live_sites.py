"""The present of one site: link, what waits, what is stuck.  Judged on the hub's own arrival clock alone."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from telemed import screen
from telemed.radio import radio_views
from telemed.stuck import stuck_views
from telemed.v1 import uplink_pb2

from cloud_hub.store.notices import Notice
from cloud_hub.store.persons import Node
from cloud_hub.store.reconciliations import Reconciliation
from cloud_hub.web.live_sync import on_hub_clock_ns
from cloud_hub.web.views import ms, ms_or_none

Link = Literal["live", "weak", "lost", "never"]
WEAK_AFTER_NS = 10 * 10**9
"""Two presences missed: something is wrong, though the site is not silent yet."""
WEAK_DELAY_MS = 5000
_WORST: tuple[Link, ...] = ("lost", "weak", "live", "never")


@dataclass(slots=True)
class NodeState:
    """What is known of a node now."""

    node: Node
    heard_ns: int = 0
    """Arrival of the newest message, hub clock; 0 = never."""
    presence: uplink_pb2.Presence | None = None
    presence_ns: int = 0
    """Arrival of that presence, hub clock."""
    delay_ms: int | None = None
    """From measurement to the hub, of the newest live set."""

    def link(self, now_ns: int, silence_ns: int) -> Link:
        """How the link is."""
        if not self.heard_ns:
            return "never"
        silent_ns = now_ns - self.heard_ns
        if silent_ns > silence_ns:
            return "lost"
        if silent_ns > WEAK_AFTER_NS or (self.delay_ms or 0) > WEAK_DELAY_MS:
            return "weak"
        return "live"


@dataclass(slots=True)
class SiteState:
    """What is known of a site now."""

    site: str
    region: str
    nodes: dict[str, NodeState] = field(default_factory=dict)
    link: Link = "never"
    link_since_ns: int = 0
    beds: list[str] = field(default_factory=list)
    """Keys of the beds, in the order of the wall."""
    notices: list[Notice] = field(default_factory=list)
    """What the operator must look at."""
    reconciled: dict[str, Reconciliation] = field(default_factory=dict)
    """The last comparison with each node that ended."""

    @property
    def heard_ns(self) -> int:
        """Arrival of the newest message of any node of this site."""
        return max((node.heard_ns for node in self.nodes.values()), default=0)

    def quietest_ns(self) -> int:
        """Arrival of the newest message of that node which has been silent for longest; 0 where none was heard."""
        return min((node.heard_ns for node in self.nodes.values() if node.heard_ns), default=0)

    def judge(self, now_ns: int, silence_ns: int) -> bool:
        """Judge the link anew; True where it changed.  The worst of the site's nodes counts."""
        links = {node.link(now_ns, silence_ns) for node in self.nodes.values()}
        present: Link = next((link for link in _WORST if link in links), "never")
        if present == self.link:
            return False
        self.link, self.link_since_ns = present, now_ns
        return True

    def view(self) -> screen.Site:
        """The site as a screen shows it."""
        described = next((node.node for node in self.nodes.values() if node.node.name_zh), None)
        presences = [node.presence for node in self.nodes.values() if node.presence]
        delays = [node.delay_ms for node in self.nodes.values() if node.delay_ms is not None]
        return screen.Site(
            site=self.site,
            name=screen.Text2(
                zh=described.name_zh if described else self.site, en=described.name_en if described else self.site
            ),
            region=self.region,
            beds=self.beds,
            link=self.link,
            link_since_ms=ms(self.link_since_ns),
            caught_up_to_ms=_caught_up_to_ms(self.nodes.values()),
            waiting=_waiting(presences),
            stuck=stuck_views([*_told(presences), *_noted(self.notices)]),
            buffer_hours=_buffer_hours(presences),
            last_arrival_ms=ms_or_none(self.heard_ns),
            delay_ms=max(delays, default=None),
            phone=described.phone if described else "",
            reconciled=_reconciled(self.reconciled.values()),
            radios=radio_views(radio for presence in presences for radio in presence.radios),
        )


def _caught_up_to_ms(nodes: Iterable[NodeState]) -> int | None:
    marks = [
        on_hub_clock_ns(node.presence.caught_up_to_unix_ns, node.presence, node.presence_ns)
        for node in nodes
        if node.presence
    ]
    return ms_or_none(min(marks)) if marks else None


def _told(presences: list[uplink_pb2.Presence]) -> Iterable[tuple[str, str]]:
    return ((one.code, one.what) for presence in presences for one in presence.stuck)


def _noted(notices: list[Notice]) -> Iterable[tuple[str, str]]:
    return ((one.code, f"{one.address.node} ×{one.times}") for one in notices)


def _waiting(presences: list[uplink_pb2.Presence]) -> screen.WaitingView:
    counts = {"alarm": 0, "care": 0, "vitals": 0, "waves": 0}
    for presence in presences:
        for waiting in presence.waiting:
            if waiting.stream_class in counts:
                counts[waiting.stream_class] += waiting.records
    return screen.WaitingView(**counts)


def _buffer_hours(presences: list[uplink_pb2.Presence]) -> float | None:
    known = [presence.buffer_hours for presence in presences if presence.buffer_hours >= 0]
    return round(min(known), 1) if known else None


def _reconciled(runs: Iterable[Reconciliation]) -> screen.ReconcileView | None:
    """What the last comparisons with the nodes of a site found together; as old as the oldest of them."""
    found = list(runs)
    if not found:
        return None
    return screen.ReconcileView(
        at_ms=ms(min(run.ended_ns for run in found)),
        broken=any(run.state == "broken" for run in found),
        compared=sum(run.tally.compared for run in found),
        healed=sum(run.healed for run in found),
        open=sum(run.open for run in found),
        lost=sum(run.tally.lost for run in found),
        conflicts=sum(run.tally.conflicts for run in found),
        damaged=sum(run.tally.damaged for run in found),
    )
