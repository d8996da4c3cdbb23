"""Which certificates are revoked, at hand for every check, and whom to cut off when one is; on the event loop alone."""

from collections.abc import Callable, Iterable, Mapping

from telemed.topics import NodeAddress


class DenyList:
    """Serial numbers that no listener takes any more."""

    def __init__(self) -> None:
        self._denied: Mapping[str, NodeAddress] = {}
        self.on_denied: list[Callable[[NodeAddress], None]] = []
        """Told of each node of which a certificate was revoked just now; must not block."""

    def is_denied(self, serial: str) -> bool:
        """Return whether a certificate is revoked."""
        return serial in self._denied

    def replace(self, denied: Mapping[str, NodeAddress]) -> None:
        """Take in the whole list: serial number -> node; whose is new on it is told to those who hold connections."""
        fresh = {address for serial, address in denied.items() if serial not in self._denied}
        self._denied = dict(denied)
        self.tell(fresh)

    def tell(self, addresses: Iterable[NodeAddress]) -> None:
        """Have all that nodes have open ended."""
        for address in sorted(addresses, key=str):
            for cut in self.on_denied:
                cut(address)
