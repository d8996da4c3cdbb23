"""`/api/v1/beds/{key}/trends`: hours and days of the person in a bed, gaps left open."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from telemed import screen

from cloud_hub.access.rights import Principal, Right
from cloud_hub.errors import NotFound
from cloud_hub.web.guard import require
from cloud_hub.web.parts import parts_of
from cloud_hub.web.trend_read import Window, read_gaps, read_given_up, read_trends
from cloud_hub.web.viewed import viewed_of

HOURS_LIMIT = 90 * 24

router = APIRouter(prefix="/api/v1/beds", tags=["beds"])
Reader = Annotated[Principal, Depends(require(Right.SEE_VITALS))]
Key = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*:[A-Za-z0-9_-]+$")]
Hours = Annotated[float, Query(gt=0, le=HOURS_LIMIT, allow_inf_nan=False)]


@router.get("/{key}/trends")
async def trends(key: Key, request: Request, principal: Reader, hours: Hours = 6) -> screen.Trends:
    """Return the trends of whoever lies in this bed now, from when they came at the earliest."""
    parts = parts_of(request)
    bed = parts.live.picture.beds.get(key)
    if bed is None or not parts.live.picture.may_see(principal, bed):
        raise NotFound("no such bed within scope")
    await viewed_of(request).show(principal, "trend-read", [bed.person.person_id] if bed.person else [])
    now_ns = parts.live.now_ns()
    window = Window(max(now_ns - int(hours * 3600 * 10**9), bed.since_ns), now_ns, step_s(hours))
    region, site, code = parts.config.region, bed.site, bed.bed
    places, gaps = await parts.stores.care.read(lambda c: read_gaps(c, region, site, code, window))
    found = await parts.stores.samples.read(lambda c: read_trends(c, site, places, window))
    given_up = await parts.stores.samples.read(lambda c: read_given_up(c, site, places, window))
    return screen.Trends(
        bed_key=key,
        from_ms=window.from_ns // 10**6,
        to_ms=window.to_ns // 10**6,
        trends=found,
        link_gaps_ms=gaps,
        given_up=given_up,
    )


def step_s(hours: float) -> int:
    """Return the step of a trend, in seconds: about 400 points, whole minutes."""
    return max(60, round(hours * 3600 / 400 / 60) * 60)
