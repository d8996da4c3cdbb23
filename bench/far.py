"""A region behind a bad link: broker and hub at one end of a packet tunnel, the edge at the other (Linux, root).

What observes, and what feeds the monitors' port, does not pass the link.
"""

import contextlib
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
from websockets.sync.client import ClientConnection, connect

from cloud_hub.broker_mosquitto import write_settings
from tests.faults.relay.tunnel import End, Tunnel
from tests.region.region import Clinic, Process, Region, until

HUB_SIDE = frozenset({"hub", "broker"})
DIAL_LIMIT_S = 20
MOVES_EVERY_S = 60.0


@dataclass(slots=True)
class FarRegion(Region):
    """A region with Mosquitto whose edges reach the hub through a tunnel; what tests make quicker is as shipped."""

    link: Tunnel = field(kw_only=True)
    doors: dict[int, str] = field(default_factory=dict)
    external_broker: bool = True

    @property
    def hub_url(self) -> str:
        """Address of the hub's page, past the bad link."""
        return self._outside("hub", self.ports["web"])

    def page_url(self, node: str = "edge-clinic") -> str:
        """Address of a bedside page, past the bad link."""
        return self._outside("edge", self.ports[f"{node}.page"])

    def launch(self, name: str, command: list[str]) -> Process:
        """Start a program at the end where it belongs."""
        return Region.launch(self, name, self.link.command("hub" if name in HUB_SIDE else "edge", command))

    def start_mosquitto(self) -> None:
        """Start a Mosquitto with the generated rights beside the hub."""
        host, port = self.link.hub_address, self.ports["broker"]
        secrets_file = self.folder / "hub" / "broker-secrets.json"
        config = write_settings(secrets_file, self.folder / "mosquitto", host, port)
        # Started as root it changes to its own user, which must be able to come here.
        self.folder.chmod(0o755)
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        assert program, "Mosquitto is not installed (Debian: mosquitto)"
        self.processes["broker"] = self.launch("broker", [program, "-c", str(config)])
        until(lambda: self._listens(host, port), 10, "the broker listens")

    def dial(self, end: End, port: int) -> socket.socket:
        """Return a TCP connection to a port of an end's loopback, made inside it."""
        with self.link.inside(end):
            return socket.create_connection(("127.0.0.1", port), DIAL_LIMIT_S)

    @contextlib.contextmanager
    def screen(self, who: str) -> Iterator[ClientConnection]:
        """Hold a live socket of the hub open; it is made inside the hub's namespace, so no relay stands between."""
        url = self.hub_url
        with contextlib.closing(self.signed_in(url, who)) as client:
            cookie = {"Cookie": f"yz_session={client.cookies['yz_session']}", "Origin": url}
            address = url.replace("http", "ws") + "/api/v1/live"
            opened = self.dial("hub", self.ports["web"])
            live = connect(address, sock=opened, additional_headers=cookie, max_size=None, compression=None)
            with contextlib.closing(live), sitting(client):
                yield live

    def _outside(self, end: End, port: int) -> str:
        if port not in self.doors:
            host, outside = self.link.door(end, port)
            self.doors[port] = f"http://{host}:{outside}"
        return self.doors[port]

    def _listens(self, host: str, port: int) -> bool:
        with self.link.inside("hub"), socket.socket() as probe:
            return probe.connect_ex((host, port)) == 0

    def _hub_config(self) -> str:
        text = Region._hub_config(self)  # noqa: SLF001 - a slotted dataclass has no super()
        for head, key in (("broker", "host"), ("ingest", "datagram_host"), ("rpc", "host")):
            text = _put(text, f"[{head}]\n", f'[{head}]\n{key} = "{self.link.hub_address}"\n')
        return _put(text, "[broker]\n", "[broker]\nsecrets_off_loopback = true\n")

    def _edge_config(self, clinic: Clinic) -> str:
        text = Region._edge_config(self, clinic)  # noqa: SLF001 - a slotted dataclass has no super()
        for head, key in (("uplink", "broker_host"), ("transfer", "hub_host")):
            text = _put(text, f"[{head}]\n", f'[{head}]\n{key} = "{self.link.hub_address}"\n')
        text = _put(text, "[uplink]\n", "[uplink]\nsecrets_off_loopback = true\n")
        for shortened in ("wave_block_s = 2\n", "longest_retry_s = 1\n"):
            text = _put(text, shortened, "")
        return text


def _put(text: str, before: str, after: str) -> str:
    """Replace one place of a configuration, which must be there."""
    assert text.count(before) == 1, f"{before!r} stands {text.count(before)} times in the region's configuration"
    return text.replace(before, after)


@contextlib.contextmanager
def sitting(client: httpx.Client) -> Iterator[None]:
    """Be somebody who sits before a screen: a session in which nothing is asked for ends after a quarter of an hour."""
    stop = threading.Event()

    def move() -> None:
        while not stop.wait(MOVES_EVERY_S):
            # What a hub that is away does not answer is asked again a minute later.
            with contextlib.suppress(httpx.HTTPError):
                client.get("/api/v1/session")

    mover = threading.Thread(target=move, name="sitting")
    mover.start()
    try:
        yield
    finally:
        stop.set()
        mover.join()
