"""A consult over the whole region: real hub, broker and node; both pages on their real live sockets."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest
from playwright.async_api import Browser, Page

from edge_node.consult.testcard import write_clip, write_sound
from tests.browser.consult_page import CHROMIUM, ROLLDOWN, bundle, chromium, look
from tests.edge_node.node_process import EXAMPLE
from tests.region.region import PASSWORD, Clinic, Region

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed"),
    pytest.mark.skipif(not ROLLDOWN.exists(), reason="the UI's packages are not installed (npm ci)"),
]
BED = "baoshan-clinic:B02"
CALL = "bed => window.post('/api/v1/consults', { bed_key: bed })"


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    """Hub, broker and a clinic with a camera and a microphone of its own."""
    folder = tmp_path_factory.mktemp("region")
    write_clip(folder / "clip.mp4", 2, (640, 360))
    write_sound(folder / "tone.wav", 2)
    clinic = Clinic(camera="clip.mp4", microphone="tone.wav")
    region = Region(folder, (clinic,))
    try:
        region.prepare()
        region.start()
        yield region
    finally:
        region.stop()


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The session of the UI, bundled once."""
    return bundle(tmp_path_factory.mktemp("bundle"))


async def signed_in(browser: Browser, url: str, who: str, script: str) -> Page:
    """Return a page of a face, signed in and on its live socket."""
    context = await browser.new_context(permissions=["microphone", "camera"], bypass_csp=True)
    page = await context.new_page()
    await page.goto(f"{url}/healthz")
    await page.add_script_tag(content=script)
    for _ in range(100):  # the accounts are still on their way to the node
        if await page.evaluate("args => window.signIn(...args).catch(() => 0)", [who, PASSWORD]) == 200:
            return page
        await asyncio.sleep(0.2)
    raise AssertionError(f"{who} cannot sign in at {url}")


async def until(page: Page, is_so: Callable[[dict[str, Any]], bool], limit_s: float = 30) -> dict[str, Any]:
    """Return what a page shows as soon as it is as wanted."""
    seen: dict[str, Any] = {}
    try:
        async with asyncio.timeout(limit_s):
            while True:
                seen = await look(page)
                if is_so(seen):
                    return seen
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not within {limit_s} s; last seen: {seen}") from None


async def consult_of(page: Page) -> dict[str, Any]:
    """Return the one consult that a page knows of, once it knows of it."""
    await page.wait_for_function("Object.keys(window.consults).length > 0")
    consult: dict[str, Any] = await page.evaluate("Object.values(window.consults)[0]")
    return consult


def measure(region: Region, heart_rate: int) -> None:
    """Have the monitor at B02 report over TCP."""
    at = datetime.now(UTC).strftime("%Y%m%d%H%M%S.000+0000")
    message = EXAMPLE.format(at=at, control=f"C{time.time_ns()}", hr=heart_rate, rr=18, spo2=96)
    with socket.create_connection(("127.0.0.1", region.ports["edge-clinic.hl7"]), timeout=10) as line:
        line.sendall(b"\x0b" + message.encode() + b"\x1c\r")
        assert b"MSA|" in line.recv(4096)


def consult_processes(region: Region) -> list[psutil.Process]:
    node = psutil.Process(region.processes["edge-clinic"].popen.pid)
    return [child for child in node.children() if "edge_node.consult" in child.cmdline()]


@pytest.mark.anyio
async def test_a_consult_from_the_hub_to_the_bed_and_back(region: Region, script: str) -> None:
    assert consult_processes(region) == []  # no call, no memory
    async with chromium() as browser:
        hub = await signed_in(browser, region.hub_url, "physician", script)
        bedside = await signed_in(browser, region.page_url(), "clinic", script)
        answer = await hub.evaluate(CALL, BED)
        assert answer["status"] == 201, answer
        await hub.evaluate("consult => window.joinLive('hub', consult, true)", answer["body"])
        await bedside.evaluate("consult => window.joinLive('bedside', consult, false)", await consult_of(bedside))

        near = await until(
            hub,
            lambda seen: (
                seen["stats"]["framesDecoded"] > 50 and seen["stats"]["audioEnergy"] > 0 and seen["voice"] == "bedside"
            ),
        )
        far = await until(
            bedside, lambda seen: seen["stats"]["framesDecoded"] > 20 and seen["stats"]["audioEnergy"] > 0
        )
        assert near["report"]["camera"] == "open"
        assert far["stats"]["audioPackets"] > 10

        await asyncio.to_thread(measure, region, heart_rate=97)
        seen = await until(hub, lambda seen: seen["vitals"] > 0 and "97" in json.dumps(seen["lastVitals"]))
        vitals = seen["lastVitals"]
        assert vitals["message"]["bed_key"] == BED
        assert 0 <= vitals["sent_at_ms"] - vitals["frame_at_ms"] < 1000

        stranger = await signed_in(browser, region.page_url(), "caregiver", script)
        assert await stranger.evaluate("Object.keys(window.consults).length") == 0

        before = await bedside.evaluate("window.types.tick ?? 0")
        os.kill(consult_processes(region)[0].pid, signal.SIGKILL)
        await until(hub, lambda seen: seen["stats"]["framesDecoded"] < 20 or seen["camera"] != "connected")
        await until(hub, lambda seen: seen["stats"]["framesDecoded"] > 30 and seen["camera"] == "connected")
        await bedside.wait_for_function("before => window.types.tick > before", arg=before)

        ended = await hub.evaluate("path => window.post(path)", f"/api/v1/consults/{answer['body']['consult_id']}/end")
        assert ended["body"]["state"] == "ended"
        await until(bedside, lambda seen: seen["ended"])
        await until(hub, lambda seen: seen["ended"])


@pytest.mark.anyio
@pytest.mark.parametrize("killed", ["hub", "edge-clinic"])
async def test_a_consult_goes_on_when_hub_or_node_is_killed_and_comes_back(
    region: Region, script: str, killed: str
) -> None:
    async with chromium() as browser:
        hub = await signed_in(browser, region.hub_url, "physician", script)
        answer = await hub.evaluate(CALL, BED)
        assert answer["status"] == 201, answer
        await hub.evaluate("consult => window.joinLive('hub', consult, false)", answer["body"])
        await until(hub, lambda seen: seen["stats"]["framesDecoded"] > 20)

        await asyncio.to_thread(region.kill, killed)
        if killed == "hub":
            # Picture and voice do not pass the hub: they never stopped.
            count = (await look(hub))["stats"]["framesDecoded"]
            await until(hub, lambda seen: seen["stats"]["framesDecoded"] > count + 30, limit_s=5)
            await asyncio.to_thread(region.start_hub)
            await hub.wait_for_function("window.socket.readyState === 1")
        else:
            await asyncio.to_thread(region.start_edge, killed)
            await until(hub, lambda seen: seen["stats"]["framesDecoded"] < 10 or seen["camera"] != "connected", 40)
        await until(hub, lambda seen: seen["stats"]["framesDecoded"] > 20 and seen["camera"] == "connected", 60)
        known = await hub.evaluate("Object.values(window.consults).map(consult => consult.state)")
        assert known == ["active"]

        path = f"/api/v1/consults/{answer['body']['consult_id']}/end"
        ended = await hub.evaluate("path => window.post(path)", path)
        assert ended["status"] == 200, ended
        await until(hub, lambda seen: seen["ended"])


@pytest.mark.anyio
async def test_an_offer_for_a_consult_of_somebody_else_is_refused_on_the_live_socket(
    region: Region, script: str
) -> None:
    async with chromium() as browser:
        hub = await signed_in(browser, region.hub_url, "physician", script)
        nowhere = {"consult_id": "0190a0a0-0000-7000-8000-000000000000", "state": "active"}
        await hub.evaluate("consult => window.joinLive('hub', consult, false)", nowhere)
        assert (await until(hub, lambda seen: seen["refusal"] is not None))["stats"]["framesDecoded"] == 0
        operator = await signed_in(browser, region.hub_url, "operator", script)
        answer = await operator.evaluate(CALL, BED)
        assert answer["status"] == 403
