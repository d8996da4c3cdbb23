"""The FHIR face on SQLite and on PostgreSQL."""

import json
from typing import Any

import pytest


@pytest.mark.anyio
async def test_search_pages_and_reads_work_on_both(hub_on_both: Any, example_set: Any, numeric_set: Any) -> None:
    hub_on_both.store(1, example_set(), *(numeric_set(second) for second in range(70)))
    hub_on_both.store(2, example_set())
    seen: list[str] = []
    async with hub_on_both.client() as client:
        url: str | None = "/fhir/R4/Observation?patient=p-1&_count=30"
        while url:
            page = json.loads((await client.get(url)).text)
            seen += [entry["resource"]["id"] for entry in page.get("entry", [])]
            url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
        assert len(seen) == len(set(seen)) == 76
        assert (await client.get(f"/fhir/R4/Observation/{seen[0]}")).status_code == 200
        for query, count in (("identifier=BAOSHAN|P-51018201-0093", 1), ("name=示例", 1), ("identifier=%25", 0)):
            assert json.loads((await client.get(f"/fhir/R4/Patient?{query}")).text)["total"] == count
        assert (await client.get("/fhir/R4/Device")).json()["total"] == 2
