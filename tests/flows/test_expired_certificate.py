"""Fault 14: a node whose certificate ends while the hub is away keeps collecting and loses nothing."""

import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from edge_node.uplink.certificates import CertificateFolder
from tests.flows.test_kill import CLINIC, Monitors, stored_sources, waiting
from tests.region.certified import CertifiedRegion
from tests.region.region import PASSWORD, running, until

LIFE_S = 30

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def renewed(region: CertifiedRegion) -> int:
    """How often the node got another certificate since it began."""
    return (region.folder / f"{CLINIC.node}.log").read_text().count('"certificate.renewed"')


def look_at_the_page(region: CertifiedRegion) -> None:
    """The bedside page answers by HTTPS, and its cookie goes nowhere else."""
    url = f"https://127.0.0.1:{region.ports[f'{CLINIC.node}.https']}"
    with httpx.Client(base_url=url, verify=region.trusting(), headers={"Origin": url}) as phone:

        def signed_in() -> str:
            answer = phone.post("/api/v1/session", json={"username": "clinic", "password": PASSWORD})
            return str(answer.headers.get("set-cookie", ""))

        cookie = until(signed_in, 20, "the clinic's accounts are at the node")
        assert cookie.startswith("__Host-")
        assert "secure" in cookie.lower()


def test_an_expired_node_keeps_collecting_and_recovers_by_renewal_without_losing_a_row(tmp_path: Path) -> None:
    region = CertifiedRegion(tmp_path, (CLINIC,), node_hours=LIFE_S / 3600)
    with running(region):
        folder = CertificateFolder(tmp_path / f"{CLINIC.node}-pki")
        look_at_the_page(region)
        monitors = Monitors(region)
        try:
            until(lambda: renewed(region) > 0, LIFE_S + 30, "it is renewed while the hub is there")
            region.kill("hub")
            ended = folder.read().certificate
            until(lambda: datetime.now(UTC) > ended.not_valid_after_utc, LIFE_S + 10, "the certificate ends")
            collected, before = len(monitors.acknowledged()), renewed(region)
            # A node that is started in this state must serve its beds all the same.
            region.kill(CLINIC.node)
            region.start_edge(CLINIC.node)
            region.until_ready(region.page_url(CLINIC.node))
            until(lambda: len(monitors.acknowledged()) > collected + 100, 30, "it goes on collecting")
            assert waiting(region) > 0
            began_s = time.monotonic()
            region.start_hub()
            until(lambda: renewed(region) > before, 60, "it is renewed by its ended certificate")
            print(f"renewed within {time.monotonic() - began_s:.1f} s of the hub's start")
        finally:
            monitors.stop()
        until(lambda: waiting(region) == 0, 60, "everything is at the hub")
        told, at_hub = monitors.acknowledged(), stored_sources(region)
        print(f"{len(told)} messages acknowledged, {len(at_hub)} at the hub")
        assert told <= set(at_hub), f"lost: {sorted(told - set(at_hub))[:5]}"
        assert not {source: count for source, count in at_hub.items() if count > 1}
