"""What befalls the machines of one episode beside crashes and bad links, drawn from its seed (pure).

An episode has one at most of those that change what the invariants may expect, so that each is looked at alone.
"""

from dataclasses import dataclass
from random import Random

GARBAGE_SHARE, CLONE_SHARE = 0.3, 0.15
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


NOTHING = Theme()
THEMES = (
    (0.45, NOTHING),
    (0.12, Theme(mishaps=(DISK_OF_EDGE,))),
    (0.06, Theme(mishaps=(DISK_OF_HUB,))),
    (0.17, Theme(mishaps=CLOCKS)),
    (0.20, Theme(damages=True)),
)
"""How often which is drawn."""


def of_episode(seed: str) -> Theme:
    """Draw it."""
    draw = Random(f"{seed}/theme")
    (chosen,) = draw.choices([theme for _, theme in THEMES], [share for share, _ in THEMES])
    return Theme(chosen.mishaps, chosen.damages, draw.random() < GARBAGE_SHARE, draw.random() < CLONE_SHARE)
