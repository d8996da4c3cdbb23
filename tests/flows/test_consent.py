"""Consent with real processes: taken back at one side it is gone from open pages of the other (appendix B 29)."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.region.region import Region, running, until
from tests.region.screen import Screen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
BED = "baoshan-clinic:B01"
WITHIN_S = 60
"""What the specification gives a withdrawal to reach the other side."""


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    with running(Region(tmp_path_factory.mktemp("region"))) as started:
        yield started


def access_of(client: httpx.Client, person_id: str) -> dict[str, Any]:
    answer = client.get(f"/api/v1/persons/{person_id}/consents")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["consents"][4])


def test_a_withdrawal_at_either_side_blanks_the_open_page_at_the_other(region: Region) -> None:
    with (
        closing(region.signed_in(region.hub_url, "caregiver")) as family,
        closing(region.signed_in(region.page_url(), "clinic")) as bedside,
        closing(region.signed_in(region.hub_url, "clinic")) as hub,
    ):
        at_hub = Screen(family)
        # The admission may still be on its way to the hub.
        shown = (
            at_hub.snapshot if at_hub.snapshot["beds"] else at_hub.until("snapshot", lambda message: message["beds"])
        )
        (bed,) = shown["beds"]
        assert bed["key"] == BED
        path = f"/api/v1/persons/{bed['patient']['person_id']}/consents"
        person_id = bed["patient"]["person_id"]

        began = time.monotonic()
        gone = bedside.post(f"{path}/withdrawal", json={"purpose": "C5", "grantee": "caregiver"})
        assert gone.status_code == 200, gone.text
        at_hub.until("snapshot", lambda message: message["beds"] == [], WITHIN_S)
        assert time.monotonic() - began < WITHIN_S
        assert family.get(f"/api/v1/beds/{BED}/trends").status_code == 404
        at_hub.socket.close()

        version = access_of(hub, person_id)["version"]
        body = {"purpose": "C5", "grantee": "caregiver", "version": version, "method": "signature"}
        assert hub.post(path, json=body).status_code == 200
        until(lambda: access_of(bedside, person_id)["state"] == "given", 30, "the consent at the bedside")
        with closing(region.signed_in(region.page_url(), "caregiver")) as phone:
            at_bedside = Screen(phone)
            assert [one["key"] for one in at_bedside.snapshot["beds"]] == [BED]
            assert hub.post(f"{path}/withdrawal", json={"purpose": "C5"}).status_code == 200
            at_bedside.until("snapshot", lambda message: message["beds"] == [], WITHIN_S)
            at_bedside.socket.close()
