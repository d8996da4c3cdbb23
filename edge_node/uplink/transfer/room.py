"""How full the disk may get (pure; reliability 2.5)."""

from edge_node.disk_share import KEEP_COPIES_BELOW

TAKE_BELOW = 0.95
"""Above it no file is taken: the rest is for alarms and events."""


def keeps_copies(used_share: float) -> bool:
    """Whether copies of files that the hub has may stay, for a hub that is put back to a backup."""
    return used_share < KEEP_COPIES_BELOW


def may_fetch(used_share: float) -> bool:
    """Whether bundles may be fetched."""
    return used_share < KEEP_COPIES_BELOW


def may_take(used_share: float) -> bool:
    """Whether a file may be taken that fills the disk to this share."""
    return used_share < TAKE_BELOW
