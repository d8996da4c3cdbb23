"""A bad link between two network namespaces, for real TCP and UDP stacks (Linux, root)."""

import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

from tests.faults.relay import namespaces
from tests.faults.relay.link import Link, Proxy
from tests.faults.relay.settings import Settings

End = Literal["edge", "hub"]
STOP_WITHIN_S = 5


class Tunnel(Link):
    """A running tunnel.  Each end is a namespace with loopback and one address; beyond that it reaches nothing."""

    def __init__(self, up: Settings, down: Settings, seed: int, control: Path | None) -> None:
        """Start it; raises Unavailable without root, namespaces or TUN."""
        self._spawned: list[subprocess.Popen[Any]] = []
        self._doors: list[Proxy] = []
        self._names: dict[str, str] = {}
        super().__init__(up, down, seed, control, kind="tunnel")
        self._names = self.ready["namespaces"]
        self.edge_address: str = self.ready["edge_address"]
        self.hub_address: str = self.ready["hub_address"]

    def spawn(self, end: End, command: list[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a process at one end, with the options of subprocess.Popen; it is ended with the tunnel at latest."""
        process = subprocess.Popen(self.command(end, command), **options)
        self._spawned.append(process)
        return process

    def command(self, end: End, command: list[str]) -> list[str]:
        """Return the command that runs another one at an end, for a caller with its own way of starting it."""
        return namespaces.command_inside(self._names[end], command)

    def name_of(self, end: End) -> str:
        """Return the name of an end's namespace, for what is started there in another way."""
        return self._names[end]

    def inside(self, end: End) -> AbstractContextManager[None]:
        """Let this thread live at one end for a while: a socket made meanwhile stays there."""
        return namespaces.inside(self._names[end])

    def door(self, end: End, port: int) -> tuple[str, int]:
        """Return an address outside that leads to a TCP port of an end's loopback, past the bad link and unshaped.

        For what observes from outside: browsers, clients of the hub's API, monitors beside the edge.
        """
        perfect = Settings()
        proxy = Proxy(perfect, perfect, 1, None, kind="stream", target=f"127.0.0.1:{port}", within=self._names[end])
        self._doors.append(proxy)
        return proxy.address

    def close(self) -> None:
        """End what was started at both ends, then the relay; nothing is left behind."""
        for door in self._doors:
            door.close()
        self._doors.clear()
        for process in self._spawned:
            process.terminate()
        for process in self._spawned:
            _bury(process)
        self._spawned.clear()
        super().close()
        # Does nothing unless the relay was killed.
        for name in self._names.values() or namespaces.owned_by(self.pid):
            namespaces.remove(name)


@contextmanager
def tunnel(
    *, up: Settings | None = None, down: Settings | None = None, seed: int = 1, control: Path | None = None
) -> Iterator[Tunnel]:
    """Hold a tunnel open while the block runs; a direction that is left out is perfect.

    Orders are also taken on the unix socket `control`.  Raises namespaces.Unavailable without root, namespaces or TUN.
    """
    link = Tunnel(up or Settings(), down or Settings(), seed, control)
    try:
        yield link
    finally:
        link.close()


def _bury(process: "subprocess.Popen[Any]") -> None:
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
