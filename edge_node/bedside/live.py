"""The live feed of the pages: bounded for each page, so that a slow one costs nothing but a fresh snapshot."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from telemed import screen

from edge_node.bedside.accounts import Session
from edge_node.samples.identifiers import uuid7

QUEUE_LIMIT = 256
TICK_S = 2.0
SITE_EVERY_S = 1.0


@dataclass(slots=True)
class Page:
    """One page that is open."""

    session: Session
    own_beds: Callable[[], set[str] | None]
    """Keys of the beds this page may see; None = all."""
    page_id: str = field(default_factory=uuid7)
    watched: set[str] = field(default_factory=set)
    _waiting: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(QUEUE_LIMIT))
    _is_behind: bool = False

    def may_see(self, bed_key: str) -> bool:
        """True where this page shows the bed."""
        own = self.own_beds()
        return own is None or bed_key in own

    @property
    def is_waiting(self) -> bool:
        """True while something is to be sent."""
        return not self._waiting.empty()

    def push(self, text: str) -> None:
        """Queue a message; a page that does not keep up gets a fresh snapshot instead of a longer queue."""
        try:
            self._waiting.put_nowait(text)
        except asyncio.QueueFull:
            self.start_over()

    def start_over(self) -> None:
        """Have the page drawn anew from a snapshot; what was queued is in it."""
        self._is_behind = True
        self._empty()
        self._waiting.put_nowait("")

    async def next(self, snapshot: Callable[[], str]) -> str:
        """Return what to send next."""
        text = await self._waiting.get()
        if self._is_behind:
            self._is_behind = False
            self._empty()
            return snapshot()
        return text

    def _empty(self) -> None:
        while not self._waiting.empty():
            self._waiting.get_nowait()


class Live:
    """All pages that are open at this station."""

    def __init__(self, clock: Callable[[], int], site: Callable[[bool], screen.Site]) -> None:
        self.pages: dict[str, Page] = {}
        self._clock = clock
        self._site = site

    def to_bed(self, bed_key: str, message: Callable[[], screen.View]) -> None:
        """Tell every page that shows this bed; the message is made only if there is one."""
        self._tell([page for page in self.pages.values() if page.may_see(bed_key)], message)

    def to_watchers(self, bed_key: str, message: Callable[[], screen.View]) -> None:
        """Tell the pages that asked for the waves of this bed."""
        pages = [page for page in self.pages.values() if bed_key in page.watched and page.may_see(bed_key)]
        self._tell(pages, message)

    def to_staff(self, message: Callable[[], screen.View]) -> None:
        """Tell every page but those of who sees only their own persons."""
        self._tell([page for page in self.pages.values() if not page.session.sees_own_only], message)

    def to_page(self, page_id: str | None, view: screen.SignalView) -> None:
        """Tell one page, or every page of the staff, a step of consult signalling."""
        message = screen.SignalMessage(signal=view)
        if page_id is None:
            self.to_staff(lambda: message)
        elif page_id in self.pages:
            self._tell([self.pages[page_id]], lambda: message)

    def fresh_snapshots(self) -> None:
        """Have every page draw itself anew: the site's people or beds changed."""
        for page in self.pages.values():
            page.start_over()

    async def run(self) -> None:
        """Tell pages that their feed lives, and how the site stands, until cancelled."""
        beats = 0
        while True:
            await asyncio.sleep(SITE_EVERY_S)
            beats += 1
            for staff in (True, False):
                pages = [page for page in self.pages.values() if page.session.sees_own_only is not staff]
                self._tell(pages, lambda staff=staff: screen.SiteMessage(site=self._site(staff)))  # type: ignore[misc]
            if beats % round(TICK_S / SITE_EVERY_S) == 0:
                tick = screen.Tick(server_time_ms=self._clock() // 1_000_000)
                self._tell(list(self.pages.values()), lambda tick=tick: tick)  # type: ignore[misc]

    def _tell(self, pages: list[Page], message: Callable[[], screen.View]) -> None:
        if not pages:
            return
        text = message().model_dump_json()
        for page in pages:
            page.push(text)
