"""The example message of clinical 3.1, sent to a real node by TCP, and read back from the hub through FHIR."""

import json
import re
import socket
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.region.region import Region, running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
EXAMPLE = Path(__file__).resolve().parents[2] / "docs/example.hl7"
OLDER_STAY = """
[[persons]]
bed = "B02"
family_name = "示例"
given_name = "患者"
gender = "female"
birth_date = "1952-03-14"
identifiers = [{system = "BAOSHAN", value = "P-51018201-0093"}]
since = 2026-01-05T08:00:00+08:00
"""
WITHIN_S = 2.0


def test_the_example_gives_the_six_observations_named_there_in_under_two_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Region, "_admissions", lambda self, clinic: OLDER_STAY)
    message = re.sub(r"[\r\n]+", "\r", EXAMPLE.read_text(encoding="utf-8").strip()) + "\r"
    with running(Region(tmp_path)) as region, closing(region.fhir()) as api:
        query = {"identifier": "P-51018201-0093"}
        patient = until(lambda: api.get("/fhir/R4/Patient", params=query).json().get("entry"), 15, "patient at the hub")
        person_id = patient[0]["resource"]["id"]

        def observations() -> list[dict[str, Any]]:
            answer = api.get("/fhir/R4/Observation", params={"patient": f"Patient/{person_id}"})
            found = json.loads(answer.text, parse_float=Decimal, parse_int=Decimal)
            return [entry["resource"] for entry in found.get("entry", [])]

        with socket.create_connection(("127.0.0.1", region.ports["edge-clinic.hl7"])) as monitor:
            begin = time.monotonic()
            monitor.sendall(b"\x0b" + message.encode() + b"\x1c\r")
            assert b"MSA|AA|BS01-20261120-000417" in monitor.recv(4096)
            until(lambda: len(observations()) >= 6, 15, "six observations")
            took_s = time.monotonic() - begin
        found = {one["code"]["coding"][-1]["code"]: one for one in observations()}
    assert took_s < WITHIN_S
    panel = found.pop("150020")
    assert {code: str(one["valueQuantity"]["value"]) for code, one in found.items()} == {
        "147842": "112",
        "151562": "22",
        "150456": "93",
        "149530": "112",
        "150364": "38.4",
    }
    assert [str(part["valueQuantity"]["value"]) for part in panel["component"]] == ["105", "62", "76"]
    assert panel["effectiveDateTime"] == "2026-11-20T07:28:10+08:00"
