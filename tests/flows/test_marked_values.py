"""Marked values in a live region: what is secret or clinical stands in no log line, no metric and no topic.

A name, a number of identity, a value, a password and the tokens of the sessions go in by the ways of the product;
then every log, both pages of metrics, every topic that the broker carried, and the audit trails are looked through.
"""

import asyncio
import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from cloud_hub.ingest.mqtt import BrokerLink, BrokerLogin
from tests.fakes.brokers import running
from tests.fakes.containers import CLINIC
from tests.flows.test_bad_input import HR, ask, connected, message
from tests.region.region import CLIENT_SECRET, PASSWORD, Clinic, Region, until
from tests.region.screen import Screen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
NAME, GIVEN, NAME_EN = "标记姓", "标记名", "Marked Nameson"
NATIONAL_ID = "510182195203140099"
VALUE = "87.6543"
WRONG_PASSWORD = "marked-wrong-password-7731"
NOTE = "marked-free-text-4402"
"""What a doctor writes is clinical too."""
TAP, TAP_SECRET = "tap", "secret-of-the-listener"
BED = "baoshan-clinic:B02"


class MarkedClinic(Clinic):
    """A site whose persons are marked."""

    def patient_id(self, bed: str) -> str:
        return NATIONAL_ID if bed == "B02" else f"{NATIONAL_ID}-1"

    def name(self, bed: str) -> str:
        return f'family_name = "{NAME}"\ngiven_name = "{GIVEN}{bed}"\nname_en = "{NAME_EN}"'


@dataclass
class Tap:
    """Listens to everything that the broker carries, in a thread of its own."""

    port: int
    topics: set[str] = field(default_factory=set)
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        thread = threading.Thread(target=lambda: asyncio.run(self._listen()))
        thread.start()
        try:
            until(lambda: self.topics, 20, "something on the broker")
            yield
        finally:
            self._ended.set()
            thread.join()

    def _hear(self, topic: str, _payload: bytes) -> None:
        self.topics.add(topic)

    async def _listen(self) -> None:
        # Nobody may read both ways: one listens as a hub does, one as the node.
        up = BrokerLogin("127.0.0.1", self.port, TAP, TAP_SECRET)
        down = BrokerLogin("127.0.0.1", self.port, "edge-clinic", "trial-secret-of-edge-clinic")
        links = [BrokerLink(up, ["up/#"], self._hear), BrokerLink(down, [f"{CLINIC.down_prefix}#"], self._hear)]
        async with running(links[0].run()), running(links[1].run()):
            while not self._ended.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)  # the library closes its sockets by itself, a moment later


def marks_in(text: str, more: Iterable[str] = ()) -> list[str]:
    """Return the marked values that a text holds."""
    marks = (NAME, GIVEN, NAME_EN, NATIONAL_ID, VALUE, WRONG_PASSWORD, NOTE, PASSWORD, CLIENT_SECRET, TAP_SECRET)
    escaped = [json.dumps(mark)[1:-1] for mark in marks]
    return [mark for mark in {*marks, *escaped, *more} if mark and mark in text]


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    made = Region(tmp_path, (MarkedClinic(),))
    made.prepare()
    secrets = tmp_path / "hub" / "broker-secrets.json"
    secrets.write_text(json.dumps(json.loads(secrets.read_text()) | {TAP: {"secret": TAP_SECRET}}))
    try:
        made.start()
        yield made
    except BaseException:
        print(made.logs())
        raise
    finally:
        made.stop()


def test_a_mark_would_be_found() -> None:
    assert marks_in(f'{{"event": "x", "who": "{NAME}"}}') == [NAME]
    assert marks_in(json.dumps({"who": NAME})) == [json.dumps(NAME)[1:-1]]
    assert marks_in("token=abc", ["abc"]) == ["abc"]
    assert marks_in("nothing of it") == []


def test_nothing_marked_stands_in_logs_metrics_topics_or_trails(region: Region) -> None:
    tokens: set[str] = set()
    tap = Tap(region.ports["broker"])
    with tap.listening():
        staff = [
            (region.hub_url, "physician", look_at_the_hub),
            (region.page_url(), "clinic", act_at_the_bedside),
        ]
        measure(region)
        for url, who, work in staff:
            httpx.post(f"{url}/api/v1/session", json={"username": who, "password": WRONG_PASSWORD}, timeout=10)
            with contextlib.closing(region.signed_in(url, who)) as client:
                tokens |= {*client.cookies.values(), client.headers["X-CSRF-Token"]}
                work(client)
        with contextlib.closing(region.fhir()) as fhir:
            tokens.add(fhir.headers["Authorization"].removeprefix("Bearer "))
            search(fhir)
        metrics = [httpx.get(f"{url}/metrics", timeout=10).text for url in (region.hub_url, region.page_url())]
    region.stop()

    logs = {path.name: path.read_text(errors="replace") for path in region.folder.glob("*.log")}
    assert {"hub.log", "edge-clinic.log"} <= set(logs)
    trails = [_trail(region.folder / "hub" / "care.db"), _trail(region.folder / "edge-clinic-buffer" / "care.db")]
    assert all("sign-in-refused" in trail and "live-view" in trail for trail in trails)
    assert any(topic.startswith("down/") for topic in tap.topics)
    seen = {"metrics": "\n".join(metrics), "topics": "\n".join(tap.topics), "trails": str(trails)}
    for name, text in {**logs, **seen}.items():
        assert marks_in(text, tokens) == [], name


def measure(region: Region) -> None:
    """Send marked values as a monitor does: taken, of another patient, and unreadable."""
    with connected(region) as line:
        assert ask(line, message({HR: VALUE}, patient=f"{NATIONAL_ID}^^^BAOSHAN^MR")) == "AA"
        assert ask(line, message({HR: VALUE}, patient=f"X{NATIONAL_ID}^^^BAOSHAN^MR")) == "AA"
        ask(line, message({HR: f"{VALUE}e999"}))
        ask(line, b"MSH|" + NOTE.encode())


def search(fhir: httpx.Client) -> None:
    """Look for the marked person as a program does, and ask what is refused."""
    for query in (f"Patient?name={NAME}", f"Patient?identifier={NATIONAL_ID}", "Observation?code=8867-4"):
        until(lambda query=query: fhir.get(f"/fhir/R4/{query}").json().get("entry"), 20, query)  # type: ignore[misc]
    fhir.get(f"/fhir/R4/Patient?nonsense={NATIONAL_ID}")


def look_at_the_hub(client: httpx.Client) -> None:
    """Look at the marked person in every way that the hub's page has, and write about them."""
    _shown(client)
    until(lambda: client.get(f"/api/v1/beds/{BED}/trends").status_code == 200, 20, "trends")
    client.get("/api/v1/referrals")
    client.post("/api/v1/alarms/none/actions", json={"action": "accept", "text": NOTE})
    client.post("/api/v1/alarms/none/actions", json={"action": NOTE})


def act_at_the_bedside(client: httpx.Client) -> None:
    """Look at the marked person at the bedside, and write about them."""
    _shown(client)
    client.get(f"/api/v1/beds/{BED}/trends")
    client.post("/api/v1/alarms/none/actions", json={"action": "accept", "text": NOTE})
    client.post("/api/v1/referrals", json={"bed_key": BED, "question": NOTE})


def _shown(client: httpx.Client) -> None:
    def is_there() -> bool:
        screen = Screen(client)
        screen.socket.close()
        return NAME in json.dumps(screen.snapshot, ensure_ascii=False)

    until(is_there, 20, "the marked person on the page")


def _trail(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return str(database.execute("SELECT * FROM audit").fetchall())
