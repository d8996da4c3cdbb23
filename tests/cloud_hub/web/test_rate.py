"""The buckets that hold the requests of a session."""

import httpx
import pytest
from fastapi import FastAPI

from cloud_hub.web import rate
from cloud_hub.web.rate import Buckets, RequestRate


def test_a_bucket_gives_its_burst_then_one_at_a_time_as_it_fills() -> None:
    buckets = Buckets(60)
    assert [buckets.wait_s(b"a", 0.0) for _ in range(60)] == [0.0] * 60
    assert buckets.wait_s(b"a", 0.0) == 1.0
    assert buckets.wait_s(b"a", 0.75) == 0.25
    assert buckets.wait_s(b"a", 1.0) == 0.0
    assert buckets.wait_s(b"a", 1.0) == 1.0
    assert buckets.wait_s(b"b", 1.0) == 0.0


def test_a_bucket_never_holds_more_than_a_minutes_worth() -> None:
    buckets = Buckets(10)
    buckets.wait_s(b"a", 0.0)
    assert [buckets.wait_s(b"a", 3600.0) for _ in range(11)] == [0.0] * 10 + [6.0]


def test_the_session_longest_unheard_is_forgotten_first() -> None:
    buckets = Buckets(10)
    for number in range(rate.REMEMBERED):
        buckets.wait_s(str(number).encode(), 0.0)
    buckets.wait_s(b"0", 0.0)
    buckets.wait_s(b"new", 0.0)
    assert b"0" in buckets._of
    assert b"1" not in buckets._of
    assert len(buckets._of) == rate.REMEMBERED


SERIES = "/dicom-web/studies/1.2/series"
COUNTED = (
    ("GET", "/api/v1/studies"),
    ("GET", "/dicom-web/studies"),
    ("GET", "/dicom-web/series"),
    ("GET", "/dicom-web/instances"),
    ("GET", SERIES),
    ("GET", "/dicom-web/studies/1.2/instances"),
    ("GET", f"{SERIES}/1.3/instances"),
)
UNCOUNTED = (
    ("GET", "/dicom-web/studies/1.2"),
    ("GET", f"{SERIES}/1.3"),
    ("GET", f"{SERIES}/1.3/metadata"),
    ("GET", f"{SERIES}/1.3/instances/1.4/frames/1"),
    ("POST", "/dicom-web/studies"),
    ("GET", "/assets/studies"),
)


async def statuses(method: str, path: str, times: int) -> list[int]:
    """What a session is answered by a hub that takes two requests a minute and has no such page."""
    app = RequestRate(FastAPI(), 2, {}, lambda: 0.0)
    headers = {"Authorization": "Bearer x"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as client:
        return [(await client.request(method, path, headers=headers)).status_code for _ in range(times)]


@pytest.mark.anyio
@pytest.mark.parametrize(("method", "path"), COUNTED)
async def test_searches_are_counted(method: str, path: str) -> None:
    assert await statuses(method, path, 3) == [404, 404, 429]


@pytest.mark.anyio
@pytest.mark.parametrize(("method", "path"), UNCOUNTED)
async def test_images_are_not_counted(method: str, path: str) -> None:
    assert await statuses(method, path, 3) == [404, 404, 404]
