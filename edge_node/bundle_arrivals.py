"""Model bundles as the transfer of files brings them, for the stage that judges them."""

from collections.abc import Awaitable, Callable, Sequence

from telemed.transfer import FileKind

from edge_node.inference.ports import Arrival
from edge_node.uplink.transfer.client import TransferClient
from edge_node.uplink.transfer.releases import Fetched


class BundleArrivals:
    """The bundles among the files that the hub released to this node."""

    def __init__(self, files: TransferClient, noted: Callable[[], Awaitable[None]]) -> None:
        """Start nothing.

        Args:
            files: what brings them.
            noted: returns once the audit trail has what was said of a bundle.
        """
        self._files, self._noted = files, noted

    async def waiting(self) -> Sequence[Arrival]:
        """Return the bundles that are here whole and not judged yet, the earliest first."""
        return [
            Arrival(each.sha256, self._files.path_of(each))
            for each in await self._files.fetched()
            if each.kind is FileKind.BUNDLE and each.state is Fetched.HERE
        ]

    async def settled(self, arrival: Arrival) -> None:
        """Give the file up: what was taken has been unpacked, what was refused is of no use."""
        # A node that died in between judges the file again, so that no refusal is missed in its trail.
        await self._noted()
        await self._files.discard(arrival.sha256)
