"""New keys, written down in a thread of its own: the medium of the keys may hang, and no alarm waits behind it."""

import threading
import time
from collections.abc import Callable, Iterable

import structlog

from edge_node.buffer.keyring import Place

PATIENCE_S = 1.0
"""How long somebody waits for a key of their own; after that they use another."""

log = structlog.get_logger(__name__)


class KeyMaker:
    """Makes keys one batch after the other; may be asked from any thread."""

    def __init__(self, write_down: Callable[[set[Place]], str]) -> None:
        """Make nothing yet.

        Args:
            write_down: makes keys, on disk when it returns; may hang.  Returns why they are not, empty where they are.
        """
        self._write_down = write_down
        self._lock = threading.Lock()
        self._wanted: set[Place] = set()
        self._done = threading.Event()
        self._done.set()
        self._began_s = 0.0
        self._has_failed = False

    def ask(self, places: Iterable[Place]) -> None:
        """Have keys made for some places; returns at once."""
        with self._lock:
            self._wanted |= set(places)
            if not self._wanted or not self._done.is_set():
                return
            self._done = threading.Event()
            self._began_s = time.monotonic()
        try:
            # A daemon: a medium that never answers must not keep the node from ending.
            threading.Thread(target=self._run, name="keys", daemon=True).start()
        except RuntimeError as error:  # none to be had: what is wanted is kept for the next who asks
            self._note(str(error))
            self._done.set()

    @property
    def has_failed(self) -> bool:
        """Whether the last keys that were asked for could not be made."""
        return self._has_failed

    def wait(self) -> None:
        """Wait until all that was asked for is made or has failed, PATIENCE_S from its begin at most.

        Not at all where the last ones could not be made.
        """
        with self._lock:
            done, until_s = self._done, 0.0 if self._has_failed else self._began_s + PATIENCE_S
        done.wait(max(0.0, until_s - time.monotonic()))

    def _run(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, set()
                if not wanted:
                    self._done.set()
                    return
            try:
                why = self._write_down(wanted)
            except Exception as error:  # border of a thread: whoever waits goes on with another key
                log.exception("store.keys-not-made")
                why = type(error).__name__
            self._note(why)

    def _note(self, why: str) -> None:
        if why and not self._has_failed:
            log.warning("store.keys-not-made", why=why)
        elif self._has_failed and not why:
            log.info("store.keys-made-again")
        self._has_failed = bool(why)
