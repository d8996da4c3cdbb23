"""A real edge node as a process of its own, for tests that go through its sockets."""

import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from argon2 import PasswordHasher
from telemed.v1 import event_pb2

from edge_node.buffer.store import Buffer
from edge_node.samples.identifiers import uuid7
from tests.fakes.ports import free_port

EXAMPLE = "\r".join(
    (
        (
            r"MSH|^~\&|QY-MON^0A1B2CFFFE3D4E5F^EUI-64|BAOSHAN-CLINIC|EDGE-GW^0A1B2CFFFE000001^EUI-64|BAOSHAN-EDGE|{at}"
            "||ORU^R01^ORU_R01|{control}|P|2.6|||NE|AL|CHN|UNICODE UTF-8|||"
            "IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO"
        ),
        "PID|||P-51018201-0093^^^BAOSHAN&2.999.1.7&ISO^MR||示例^患者^^^^^L||19520314|F",
        "PV1||O|OBS^R1^B02^BAOSHAN-CLINIC",
        (
            "OBR|1|{control}^EDGE-GW^0A1B2CFFFE000001^EUI-64|{control}^QY-MON^0A1B2CFFFE3D4E5F^EUI-64|"
            "182777000^monitoring of patient^SCT|||{at}|{at}"
        ),
        "OBX|1||69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC|1.0.0.0|||||||X",
        "OBX|2|NM|147842^MDC_ECG_HEART_RATE^MDC|1.1.1.1|{hr}|264864^MDC_DIM_BEAT_PER_MIN^MDC|||||R",
        "OBX|3|NM|151562^MDC_RESP_RATE^MDC|1.1.1.2|{rr}|264928^MDC_DIM_RESP_PER_MIN^MDC|||||R",
        "OBX|4|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.2.1.1|{spo2}|262688^MDC_DIM_PERCENT^MDC|||||R",
        "OBX|5|NM|150021^MDC_PRESS_BLD_NONINV_SYS^MDC|1.3.1.1|105|266016^MDC_DIM_MMHG^MDC|||||R|||{at}",
        "OBX|6|NM|150022^MDC_PRESS_BLD_NONINV_DIA^MDC|1.3.1.2|62|266016^MDC_DIM_MMHG^MDC|||||R|||{at}",
        "OBX|7|NM|150364^MDC_TEMP_BODY^MDC|1.4.1.1|38.4|268192^MDC_DIM_DEGC^MDC|||||R",
        "",
    )
)
"""The example of clinical 3.1, shortened, with the present to be filled in."""

CONFIG = """
[node]
region = "baoshan"
site = "baoshan-clinic"
node = "edge-clinic"
name_zh = "青石镇卫生院"
name_en = "Qingshi Clinic"
phone = "028-0000-0000"
[buffer]
folder = "buffer"
[uplink]
broker_port = {broker}
secret_file = "secret"
datagram_enabled = false
[transfer]
enabled = false
[hl7]
port = {hl7}
[bedside]
port = {page}
[[beds]]
bed = "B02"
label = "02"
[[beds]]
bed = "B03"
label = "03"
[[devices]]
device = "mon-b02"
family = "hl7_monitor"
bed = "B02"
eui64 = "0A1B2CFFFE3D4E5F"
locations = ["OBS^R1^B02^BAOSHAN-CLINIC"]
"""

PEOPLE = """
[[persons]]
bed = "B02"
family_name = "示例"
given_name = "患者"
name_en = "Example Patient"
gender = "female"
birth_date = "1952-03-14"
identifiers = [{system = "BAOSHAN", value = "P-51018201-0093"}]
caregiver = "daughter"
consents = ["C5"]
"""

ACCOUNTS = {"clinic": ("clinic", "黄芪"), "daughter": ("caregiver", "女儿"), "stranger": ("operator", "运维")}
PASSWORD = "correct horse battery"


def accounts() -> list[event_pb2.OrderedEvent]:
    """Return the site's accounts as the hub would have ordered them."""
    hashed = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    rows = []
    for number, (username, (role, name)) in enumerate(ACCOUNTS.items(), start=1):
        event = event_pb2.Event(
            event_id=uuid7(),
            aggregate_type="account",
            aggregate_id=username,
            at_unix_ns=time.time_ns(),
            account_set=event_pb2.AccountSet(
                username=username,
                role=role,
                name_zh=name,
                name_en=username,
                password_hash=hashed,
                sites=["baoshan-clinic"],
            ),
        )
        rows.append(event_pb2.OrderedEvent(site_seq=number, version=1, event=event))
    return rows


async def prepare(folder: Path) -> None:
    """Put the accounts into the store of a node that is not running, as its uplink would."""
    rows = accounts()
    buffer = Buffer.open(folder / "buffer")
    try:
        await buffer.apply_page(event_pb2.EventPage(events=rows, head=len(rows)))
    finally:
        buffer.close()


@dataclass(slots=True)
class NodeProcess:
    """One node with its files in a folder."""

    folder: Path
    hl7_port: int
    page_port: int
    process: subprocess.Popen[str] | None = None

    @classmethod
    def at(cls, folder: Path) -> "NodeProcess":
        """Write the configuration of a node whose hub does not answer."""
        node = cls(folder, free_port(), free_port())
        text = CONFIG.format(broker=free_port(), hl7=node.hl7_port, page=node.page_port)
        (folder / "node.toml").write_text(text, encoding="utf-8")
        (folder / "people.toml").write_text(PEOPLE, encoding="utf-8")
        (folder / "secret").write_text("secret\n")
        return node

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the node and wait for its end."""
        return subprocess.run(
            [sys.executable, "-m", "edge_node", *words], capture_output=True, text=True, timeout=30, check=False
        )

    def admit(self) -> "subprocess.CompletedProcess[str]":
        """Put the people into their beds."""
        return self.command(
            "admit", "--config", str(self.folder / "node.toml"), "--from", str(self.folder / "people.toml")
        )

    def start(self, before: tuple[str, ...] = ()) -> None:
        """Start, by another program where one is named, and wait for the ready line."""
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", "edge_node", "serve", "--config", str(self.folder / "node.toml")],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("edge-node ready: "), (line, (self.folder / "log").read_text())

    def stop(self) -> int:
        """Ask the node to stop and return its exit status."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.stdout is not None
        try:
            return self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.process.stdout.close()

    @property
    def url(self) -> str:
        """Address of the bedside page."""
        return f"http://127.0.0.1:{self.page_port}"

    def send(self, control: str, at: datetime | None = None, **values: object) -> str:
        """Send the example message stamped with the present and return the answer."""
        now = at or datetime.now(timezone(timedelta(hours=8)))
        stamp = now.strftime("%Y%m%d%H%M%S.%f")[:18] + now.strftime("%z")
        fields = {"hr": 112, "rr": 22, "spo2": 93, **values}
        text = EXAMPLE.format(at=stamp, control=control, **fields)
        with socket.create_connection(("127.0.0.1", self.hl7_port), timeout=5) as line:
            line.sendall(b"\x0b" + text.encode() + b"\x1c\r")
            answer = b""
            while not answer.endswith(b"\x1c\r"):
                chunk = line.recv(65536)
                assert chunk, answer
                answer += chunk
        return answer.decode()


def parse(text: "str | bytes") -> dict[str, object]:
    """Return a message of the live feed."""
    found: dict[str, object] = json.loads(text)
    return found
