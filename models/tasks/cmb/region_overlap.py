"""How far region maps agree with the truth; without torch, so that what is released can be measured anywhere."""

from collections.abc import Sequence

from telemed.recipes.cmb_regions import Region, RegionMap


def dice(told: Sequence[RegionMap], truth: Sequence[RegionMap]) -> dict[str, float]:
    """Return twice what is shared over the sum of both, by region; 1 where neither has any."""
    result = {}
    for region in Region:
        if region is Region.NONE:
            continue
        shared = sum(int(((one == region) & (other == region)).sum()) for one, other in zip(told, truth, strict=True))
        both = sum(int((one == region).sum() + (other == region).sum()) for one, other in zip(told, truth, strict=True))
        result[region.name.lower()] = 2 * shared / both if both else 1.0
    return result
