"""What befalls the machines of one episode beside crashes and bad links, drawn from its seed (pure).

An episode has one at most of those that change what the invariants may expect, so that each is looked at alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from tests.faults.chaos.access import Access
from tests.faults.chaos.schedule import BUNDLE, RENEWAL
from tests.faults.chaos.steps import Need

GARBAGE_SHARE, CLONE_SHARE, CERTIFIED_SHARE = 0.3, 0.15, 0.5
OWN_SHARE = 0.25
"""How many more have certificates that end, or bundles, while steps of these lack crashes."""
DISK_OF_EDGE, DISK_OF_HUB = "5 disk full: edge", "5 disk full: hub"
CLOCKS = ("11 clock +1 h", "11 clock -1 h", "11 clock 1970")


@dataclass(frozen=True, slots=True)
class Theme:
    """What happens."""

    mishaps: tuple[str, ...] = ()
    """Names of `mishaps.KINDS`."""
    damages: bool = False
    """A file of the node's store is damaged between two rounds."""
    has_garbage: bool = False
    """The node is heard saying what nobody can read."""
    is_cloned: bool = False
    """In the end a second machine goes on from a copy of the node's store."""
    known_by: Access = "secrets"
    """How the hub knows the node; "short": fault 14, see `credentials`."""
    has_bundles: bool = False
    """Good and bad bundles come: fault 18, see `bundles`."""

    @property
    def renews(self) -> bool:
        """Whether its certificates end within seconds."""
        return self.known_by == "short"

    @property
    def own(self) -> Need:
        """What goes on that does so in no other episode."""
        return RENEWAL if self.renews else BUNDLE if self.has_bundles else ""


NOTHING, ENDING, BUNDLES = Theme(), Theme(known_by="short"), Theme(has_bundles=True)
NAMED: dict[str, Theme] = {"plain": NOTHING} | {each.own: each for each in (ENDING, BUNDLES)}
"""Those that a run may be of: with nothing but crashes and bad links, and with something of their own."""
THEMES = (
    (0.26, NOTHING),
    (0.12, ENDING),
    (0.10, BUNDLES),
    (0.12, Theme(mishaps=(DISK_OF_EDGE,))),
    (0.06, Theme(mishaps=(DISK_OF_HUB,))),
    (0.17, Theme(mishaps=CLOCKS)),
    (0.17, Theme(damages=True)),
)
"""How often which is drawn."""


def of_episode(seed: str, sought: Sequence[Need] = ()) -> Theme:
    """Draw it; `sought` are those of `schedule.OWN` of which steps lack crashes."""
    draw = Random(f"{seed}/theme")
    (chosen,) = draw.choices([theme for _, theme in THEMES], [share for share, _ in THEMES])
    has_garbage, is_cloned = draw.random() < GARBAGE_SHARE, draw.random() < CLONE_SHARE
    certified: Access = "certificates" if draw.random() < CERTIFIED_SHARE else "secrets"
    if sought and not chosen.own and draw.random() < OWN_SHARE:
        chosen = NAMED[draw.choice(sought)]
    if chosen == ENDING:
        return replace(ENDING, has_garbage=has_garbage)
    is_cloned = is_cloned and not chosen.own
    return replace(chosen, has_garbage=has_garbage, is_cloned=is_cloned, known_by=certified)
