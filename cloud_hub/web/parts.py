"""The parts of the hub that routes use, joined by `cloud_hub.app` and kept in `app.state.parts`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from cloud_hub.access.enrolment import Enrolment
from cloud_hub.config import HubConfig
from cloud_hub.desk.alarms import Alarms
from cloud_hub.desk.consents import Consents
from cloud_hub.desk.referrals import Referrals
from cloud_hub.web.live import Live, Stores
from cloud_hub.web.ports import Calls, Signals


@dataclass(frozen=True, slots=True)
class NodeDesk:
    """What the routes of nodes stand on, where the hub has an authority."""

    enrolment: Enrolment
    host: str
    port: int
    """Of the door that tokens name."""
    ca_sha256: bytes
    changed: Callable[[], Awaitable[None]]
    """To be awaited after a revocation: listeners end what is open."""
    now_ns: Callable[[], int]
    authority_days: Callable[[], int | None] = lambda: None
    """Whole days until the authority ends, once operators are to be told."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the HTTP face stands on."""

    config: HubConfig
    stores: Stores
    live: Live
    alarms: Alarms
    referrals: Referrals
    consents: Consents
    calls: Calls
    signals: Signals
    is_ready: Callable[[], list[str]]
    """Names of what is not ready (broker); empty when everything is."""
    nodes: NodeDesk | None = None
    """None: nodes are known by secrets."""


def parts_of(connection: HTTPConnection) -> Parts:
    """Return the parts of the application that serves this request."""
    parts: Parts = connection.app.state.parts
    return parts
