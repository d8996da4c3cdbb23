"""Which certificates are revoked, at hand for every check, and whom to cut off when one is; on the event loop alone."""

from collections.abc import Callable, Mapping

from telemed.topics import NodeAddress


class DenyList:
    """Serial numbers that no listener takes any more."""

    def __init__(self) -> None:
        self._denied: Mapping[str, NodeAddress] = {}
        self.on_denied: list[Callable[[NodeAddress], None]] = []
        """Told of each node of which a certificate was revoked just now; must not block."""
        self.on_change: list[Callable[[frozenset[str]], None]] = []
        """Told all serial numbers whenever they change, before `on_denied`; must not block."""

    @property
    def serials(self) -> frozenset[str]:
        """All serial numbers that are denied."""
        return frozenset(self._denied)

    def is_denied(self, serial: str) -> bool:
        """Return whether a certificate is revoked."""
        return serial in self._denied

    def replace(self, denied: Mapping[str, NodeAddress]) -> None:
        """Take in the whole list: serial number -> node; whose is new on it is told to those who hold connections."""
        fresh = {address for serial, address in denied.items() if serial not in self._denied}
        is_changed = denied.keys() != self._denied.keys()
        self._denied = dict(denied)
        if is_changed:
            for tell in self.on_change:
                tell(self.serials)
        for address in sorted(fresh, key=str):
            for cut in self.on_denied:
                cut(address)
