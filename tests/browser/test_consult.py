"""A whole consult in Chromium: the hub's page and the bedside page run the real session, the camera the real process.

Signals take their real way through the hub's rooms and the node's router; only MQTT and the WebSocket are left out.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page
from telemed.roles import Role
from telemed.screen import Consult, SignalMessage, SignalView
from telemed.topics import NodeAddress
from telemed.v1 import event_pb2, uplink_pb2

from cloud_hub.access.rights import Principal
from cloud_hub.consult import signalling
from cloud_hub.errors import CareError
from edge_node.consult import router
from edge_node.consult.host import ConsultHost
from edge_node.consult.pipe import Configure, Step
from edge_node.consult.testcard import write_clip, write_sound
from edge_node.errors import EdgeError
from tests.browser.consult_page import CHROMIUM, ROLLDOWN, bundle, chromium, look, open_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed"),
    pytest.mark.skipif(not ROLLDOWN.exists(), reason="the UI's packages are not installed (npm ci)"),
]
EDGE = NodeAddress("baoshan", "clinic", "edge-clinic")
LIU = Principal("liu", Role.PHYSICIAN, "刘医生", "Dr Liu", "baoshan", None)
VITALS = json.dumps({"type": "readings", "bed_key": "clinic:B01", "readings": []})


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The session of the UI, bundled once."""
    return bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Configure:
    """A test camera and a test microphone."""
    folder = tmp_path_factory.mktemp("media")
    write_clip(folder / "clip.mp4", 2, (640, 360))
    write_sound(folder / "tone.wav", 2)
    return Configure({"": str(folder / "clip.mp4")}, str(folder / "tone.wav"), [], "480p")


class Wire:
    """Hub and node joined, with the pages that are open."""

    def __init__(self, settings: Configure, auto_answer: bool) -> None:
        self.hub_page: Page | None = None
        self.bedside_page: Page | None = None
        self.states: list[str] = []
        self.logged: list[str] = []
        self._ids = 0
        self._to_pages: asyncio.Queue[tuple[str, SignalView]] = asyncio.Queue()
        self.host = ConsultHost(settings, self._from_camera)
        self.router = router.ConsultRouter(
            "clinic",
            auto_answer,
            self.host,
            router.Outlets(
                to_hub=lambda said: self.hub.from_edge(EDGE, said),
                to_page=lambda _client, view: self._to_pages.put_nowait(("bedside", view)),
                changed=lambda _consult: None,
            ),
        )
        self.hub = signalling.Consults(
            signalling.Outlets(
                to_edge=self._down,
                to_page=self._to_hub_page,
                changed=self._changed,
                locate=lambda _site, _bed: EDGE,
                log=self._log,
                new_id=self._new_id,
            )
        )

    def from_hub_page(self, view: SignalView) -> None:
        try:
            self.hub.from_page(LIU, "page", view)
        except CareError as error:
            self._to_hub_page("liu", None, self.hub.refused(view, error))

    def from_bedside_page(self, view: SignalView) -> None:
        self.router.from_page("bedside-page", view)

    def _from_camera(self, step: Step) -> None:
        self.router.from_camera(step)

    async def carry(self) -> None:
        while True:
            who, view = await self._to_pages.get()
            page = self.hub_page if who == "hub" else self.bedside_page
            if page is not None:
                await page.evaluate("text => window.signalIn(text)", view.model_dump_json())

    def _down(self, _address: NodeAddress, said: uplink_pb2.Signal) -> None:
        # As MQTT does it: later, and from bytes.
        raw = said.SerializeToString()
        asyncio.get_running_loop().call_soon(lambda: self.router.from_hub(uplink_pb2.Signal.FromString(raw)))

    def _to_hub_page(self, _username: str, _client: str | None, message: SignalMessage) -> None:
        self._to_pages.put_nowait(("hub", message.signal))

    def _changed(self, consult: Consult) -> None:
        self.states.append(consult.state)

    async def _log(self, _address: NodeAddress, event: event_pb2.Event) -> None:
        self.logged.append(event.consult_logged.what)

    def _new_id(self, _now_ns: int) -> str:
        self._ids += 1
        # The pages of this test know their consult's name beforehand.
        return "c1" if self._ids == 1 else f"e{self._ids}"


@asynccontextmanager
async def wired(settings: Configure, auto_answer: bool) -> AsyncIterator[Wire]:
    wire = Wire(settings, auto_answer)
    tasks = [asyncio.create_task(work) for work in (wire.host.run(), wire.hub.run(), wire.carry())]
    try:
        yield wire
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(page: Page, is_so: Callable[[dict[str, Any]], bool], limit_s: float = 25) -> dict[str, Any]:
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
        pytest.fail(f"not within {limit_s} s; last seen: {seen}")


@pytest.mark.anyio
async def test_both_sides_see_and_hear_each_other_with_vitals_in_step(settings: Configure, script: str) -> None:
    async with wired(settings, auto_answer=False) as wire, chromium() as browser:
        wire.hub_page = hub = await open_page(browser, script, wire.from_hub_page)
        wire.bedside_page = bedside = await open_page(browser, script, wire.from_bedside_page)
        await hub.evaluate("window.join('hub', false, true)")
        wire.hub.start(LIU, "clinic:B01")
        await asyncio.sleep(0.5)
        assert (await look(hub))["camera"] == "off"  # it rings: nothing may flow yet

        await bedside.evaluate("window.join('bedside', false, false)")
        await until(hub, lambda seen: seen["stats"]["framesDecoded"] > 0)
        for _ in range(5):
            wire.host.vitals("B01", VITALS)
            await asyncio.sleep(0.1)
        near = await until(
            hub,
            lambda seen: (
                seen["stats"]["framesDecoded"] > 50
                and seen["stats"]["audioPackets"] > 50
                and seen["voice"] == "bedside"
                and seen["vitals"] == 5
            ),
        )
        far = await until(
            bedside,
            lambda seen: (
                seen["stats"]["framesDecoded"] > 20
                and seen["stats"]["audioPackets"] > 50
                and seen["stats"]["audioEnergy"] > 0
            ),
        )
        assert near["stats"]["audioEnergy"] > 0
        assert (near["camera"], near["bedside"], far["bedside"]) == ("connected",) * 3
        assert (near["stats"]["frameWidth"], near["stats"]["frameHeight"]) == (640, 360)
        assert int(near["data"]["framesDecoded"]) > 50
        assert int(far["data"]["audioPackets"]) > 50
        last = near["lastVitals"]
        assert 0 <= last["sent_at_ms"] - last["frame_at_ms"] < 500
        assert last["message"]["bed_key"] == "clinic:B01"

        await bedside.evaluate("window.session.hangUp()")
        assert (await until(hub, lambda seen: seen["ended"]))["camera"] == "off"
        assert wire.states == ["ringing", "active", "ended"]
        assert wire.logged == ["started", "answered", "ended"]


@pytest.mark.anyio
async def test_without_a_bedside_page_the_camera_answers_with_the_node_s_microphone_and_survives_a_kill(
    settings: Configure, script: str
) -> None:
    async with wired(settings, auto_answer=True) as wire, chromium() as browser:
        wire.hub_page = hub = await open_page(browser, script, wire.from_hub_page)
        await hub.evaluate("window.join('hub', false, false)")
        wire.hub.start(LIU, "clinic:B01")
        seen = await until(
            hub,
            lambda seen: (
                seen["stats"]["framesDecoded"] > 30
                and seen["stats"]["audioPackets"] > 30
                and seen["stats"]["audioEnergy"] > 0
            ),
        )
        assert (seen["voice"], seen["report"]["camera"], seen["report"]["rung"]) == ("node", "open", "480p")

        before = (await until(hub, lambda seen: seen["stats"]["framesDecoded"] > 120))["stats"]["framesDecoded"]
        assert wire.host.pid is not None
        os.kill(wire.host.pid, signal.SIGKILL)
        await until(hub, lambda seen: seen["stats"]["framesDecoded"] < before)
        again = await until(hub, lambda seen: seen["stats"]["framesDecoded"] > 30)
        assert again["report"]["camera"] == "open"
        assert wire.states == ["ringing", "active"]

        wire.bedside_page = bedside = await open_page(browser, script, wire.from_bedside_page)
        await bedside.evaluate("window.join('bedside', false, false)")
        await until(hub, lambda seen: seen["voice"] == "bedside")
        await hub.evaluate("window.session.hangUp()")
        await until(bedside, lambda seen: seen["ended"])


@pytest.mark.anyio
async def test_a_page_without_microphone_and_camera_still_sees_and_hears_and_says_why(
    settings: Configure, script: str
) -> None:
    async with wired(settings, auto_answer=True) as wire, chromium() as browser:
        wire.hub_page = hub = await open_page(browser, script, wire.from_hub_page)
        await hub.evaluate(
            "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError')); 0"
        )
        await hub.evaluate("window.join('hub', false, true)")
        wire.hub.start(LIU, "clinic:B01")
        seen = await until(hub, lambda seen: seen["stats"]["framesDecoded"] > 10 and seen["stats"]["audioPackets"] > 10)
        assert seen["localReason"] == {"zh": "没有找到麦克风", "en": "No microphone was found"}
        assert not seen["localAudio"]


@pytest.mark.anyio
async def test_an_offer_for_somebody_else_s_consult_is_refused_in_words(settings: Configure, script: str) -> None:
    async with wired(settings, auto_answer=True) as wire, chromium() as browser:
        wire.hub_page = hub = await open_page(browser, script, wire.from_hub_page)
        await hub.evaluate("window.join('hub', true, false)")  # no such consult: nobody called
        seen = await until(hub, lambda seen: seen["refusal"] is not None)
        assert seen["refusal"]["en"] == "This consult does not exist, or is over"
        assert seen["stats"]["framesDecoded"] == 0
        with pytest.raises(EdgeError):
            wire.router.from_page(
                "p", SignalView(consult_id="c1", from_peer="bedside", to_peer="hub", kind="offer", body="{}")
            )
