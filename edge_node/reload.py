"""SIGHUP: read the configuration anew, and keep the one in force where the new one cannot be used (bad input 40)."""

import asyncio
from collections.abc import Callable

import structlog

from edge_node.config import EdgeConfig
from edge_node.errors import ConfigRefused, EdgeError

log = structlog.get_logger(__name__)


class Reload:
    """Which configuration a node runs on; used on the event loop alone."""

    def __init__(self, config: EdgeConfig, reread: Callable[[], EdgeConfig], stop: asyncio.Event) -> None:
        """Read nothing yet.

        Args:
            config: the one in force.
            reread: reads the file and checks all that it names; raises ConfigRefused.
            stop: set once another one can be used, so that the node ends and begins anew with it.
        """
        self.config = config
        self.refused = ""
        """Why the file as it stands now cannot be used, for the operator; empty while it is in force."""
        self._reread = reread
        self._stop = stop
        self._before: EdgeConfig | None = None
        self._next: EdgeConfig | None = None

    def asked(self) -> None:
        """Somebody asks for the file to be read again."""
        try:
            self._next = self._reread()
        except ConfigRefused as refused:
            self._refuse(refused)
        else:
            self._stop.set()

    def goes_on(self) -> bool:
        """Return whether the node begins anew after it ended, then with the new configuration."""
        if self._next is None:
            return False
        self._before, self.config, self._next = self.config, self._next, None
        self.refused = ""
        self._stop.clear()
        log.info("config-reloaded")
        return True

    def began(self) -> None:
        """The node serves with the configuration in force."""
        self._before = None

    def falls_back(self, failed: BaseExceptionGroup[EdgeError]) -> bool:
        """Return whether there is an earlier configuration to go on with after this one could not be started."""
        if self._before is None:
            return False
        self.config, self._before = self._before, None
        leaf: BaseException = failed
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        self._refuse(leaf)
        return True

    def _refuse(self, refused: BaseException) -> None:
        self.refused = str(refused).splitlines()[0]
        log.error("config-refused", why=str(refused), now="the earlier configuration stays in force")
