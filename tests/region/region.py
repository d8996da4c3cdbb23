"""A whole region of real processes on free loopback ports, for flow, browser, durability tests and the bench."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx

from cloud_hub.broker_mosquitto import write_settings
from tests.fakes.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
REGION = "baoshan"
STAFF: dict[str, dict[str, object]] = {
    "physician": {"role": "physician", "name_zh": "杜仲 医师", "name_en": "Dr Du Zhong", "sites": []},
    "clinic": {"role": "clinic", "name_zh": "黄芪 医生", "name_en": "Dr Huang Qi", "sites": ["baoshan-clinic"]},
    "caregiver": {"role": "caregiver", "name_zh": "秋小禾", "name_en": "Qiu Xiaohe", "sites": ["baoshan-clinic"]},
    "operator": {"role": "operator", "name_zh": "决明", "name_en": "Jue Ming", "sites": []},
}
PASSWORD = "amber-birch-cedar-0001"
CLIENT_SECRET = "trial-region-client-secret"
T = TypeVar("T")


def until(condition: Callable[[], T], limit_s: float, what: str) -> T:
    """Return the first truthy answer of `condition`, asked every 50 ms.

    Raises:
        AssertionError: none within `limit_s`; the text says what was waited for.
    """
    deadline = time.monotonic() + limit_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s:g} s: {what}")
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Clinic:
    """One site of the region under test; bed n has monitor `mon-<bed>` with its own EUI-64."""

    site: str = "baoshan-clinic"
    node: str = "edge-clinic"
    beds: tuple[str, ...] = ("B01", "B02")
    camera: str = ""
    auto_answer: bool = True
    extra: str = ""
    """More TOML for the node's configuration."""
    microphone: str = ""
    since: str = ""
    """Since when the persons lie in their beds, as TOML writes a time; empty = since the region began."""

    def eui64(self, bed: str) -> str:
        """EUI-64 of the monitor at a bed; B02's is that of the documented example."""
        if (self.site, bed) == ("baoshan-clinic", "B02"):
            return "0A1B2CFFFE3D4E5F"
        return f"0A1B2CFE{sum(self.site.encode()) % 0xFFFF:04X}{self.beds.index(bed) + 1:04X}"

    def patient_id(self, bed: str) -> str:
        """Medical record number of the person in a bed; B02's is that of the documented example."""
        if (self.site, bed) == ("baoshan-clinic", "B02"):
            return "P-51018201-0093"
        return f"P-{self.site}-{bed}"

    def name(self, bed: str) -> str:
        """Name of the person in a bed, as TOML; B02's is that of the documented example."""
        if (self.site, bed) == ("baoshan-clinic", "B02"):
            return 'family_name = "示例"\ngiven_name = "患者"\nname_en = "Example Patient"'
        return f'family_name = "谷"\ngiven_name = "雨{bed}"\nname_en = "Gu Yu {bed}"'


@dataclass(slots=True)
class Process:
    """One process of the region, with the log that a failing test shows."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path


@dataclass(slots=True)
class Region:
    """Hub, broker and edges as processes; everything below one folder, everything on 127.0.0.1."""

    folder: Path
    clinics: tuple[Clinic, ...] = (Clinic(),)
    external_broker: bool = False
    """Use a Mosquitto process instead of the embedded broker."""
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)

    def prepare(self) -> None:
        """Write configurations, secrets and admissions."""
        (self.folder / "hub").mkdir(parents=True, exist_ok=True)
        names = ["web", "broker", "datagram", "files"]
        for clinic in self.clinics:
            names += [f"{clinic.node}.page", f"{clinic.node}.hl7"]
        self.ports = {name: free_port() for name in names}
        self._write_secrets()
        (self.folder / "hub.toml").write_text(self._hub_config())
        for clinic in self.clinics:
            (self.folder / f"{clinic.node}.toml").write_text(self._edge_config(clinic))
            admissions = self.folder / f"{clinic.node}-admissions.toml"
            admissions.write_text(self._admissions(clinic))
            self.run("edge_node", "admit", "--config", f"{clinic.node}.toml", "--from", str(admissions))

    def start(self) -> None:
        """Start broker (if external), hub and every edge, and wait until all are ready."""
        if self.external_broker:
            self.start_mosquitto()
        self.start_hub()
        for clinic in self.clinics:
            self.start_edge(clinic.node)
        for clinic in self.clinics:
            self.until_ready(self.page_url(clinic.node))

    def start_mosquitto(self) -> None:
        """Start a Mosquitto with the generated rights."""
        config = write_settings(
            self.folder / "hub" / "broker-secrets.json", self.folder / "mosquitto", "127.0.0.1", self.ports["broker"]
        )
        # Started as root it changes to its own user, which must be able to come here.
        self.folder.chmod(0o755)
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        assert program, "Mosquitto is not installed (Debian: mosquitto)"
        self.start_program("broker", [program, "-c", str(config)], self.ports["broker"])

    def start_program(self, name: str, command: list[str], port: int) -> None:
        """Start another program of the region and wait until it listens."""
        self.processes[name] = self.launch(name, command)
        until(lambda: _listens(port), 10, f"{name} listens")

    def start_hub(self) -> None:
        """Start the hub and wait until it is ready."""
        self.launch_hub()
        self.until_ready(self.hub_url)

    def launch_hub(self) -> None:
        """Start the hub; does not wait."""
        self.processes["hub"] = self._python(
            "hub", "cloud_hub", "serve", "--config", "hub.toml", "--pids", "hub/pids.json"
        )

    def start_edge(self, node: str = "edge-clinic") -> None:
        """Start an edge; does not wait."""
        self.processes[node] = self._python(node, "edge_node", "serve", "--config", f"{node}.toml")

    def until_ready(self, url: str, limit_s: float = 40) -> None:
        """Wait until a face answers /readyz with 200."""
        try:
            until(lambda: _answers(f"{url}/readyz"), limit_s, f"{url} ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from error

    def kill(self, name: str) -> None:
        """Kill a process with SIGKILL and wait until it is gone."""
        process = self.processes.pop(name)
        process.popen.kill()
        process.popen.wait()

    def broker_pid(self) -> int:
        """Process id of the broker, embedded or not."""
        if self.external_broker:
            return self.processes["broker"].popen.pid
        pid: int = json.loads((self.folder / "hub" / "pids.json").read_text())["broker"]
        return pid

    def stop(self) -> None:
        """End all processes of this region, politely first."""
        for process in self.processes.values():
            process.popen.terminate()
        for process in self.processes.values():
            try:
                process.popen.wait(10)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
        self.processes.clear()
        with contextlib.suppress(OSError, KeyError, ValueError):
            os.kill(self.broker_pid(), signal.SIGTERM)

    @property
    def hub_url(self) -> str:
        """Address of the hub's page."""
        return f"http://127.0.0.1:{self.ports['web']}"

    def page_url(self, node: str = "edge-clinic") -> str:
        """Address of a bedside page."""
        return f"http://127.0.0.1:{self.ports[f'{node}.page']}"

    def signed_in(self, url: str, who: str) -> httpx.Client:
        """Return a client with session cookie and CSRF header; waits for accounts still on their way to an edge."""
        client = httpx.Client(base_url=url, headers={"Origin": url}, timeout=10)

        def sign_in() -> httpx.Response | None:
            answer = client.post("/api/v1/session", json={"username": who, "password": PASSWORD})
            return answer if answer.status_code == 200 else None

        answer = until(sign_in, 15, f"{who} may sign in at {url}")
        assert answer is not None
        client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        return client

    def fhir(self) -> httpx.Client:
        """Return a client of the FHIR face with the API program's bearer token."""
        client = httpx.Client(base_url=self.hub_url, timeout=10)
        answer = client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("api", CLIENT_SECRET))
        assert answer.status_code == 200, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return client

    def run(self, module: str, *arguments: str) -> str:
        """Run a command of the product to its end and return what it printed.

        Raises:
            AssertionError: it ended with an error; the text is what it printed.
        """
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{module} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def logs(self) -> str:
        """Return the ends of all logs, for the report of a failing test."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in self.folder.glob("*.log")
        )

    def _python(self, name: str, *arguments: str) -> Process:
        return self.launch(name, [sys.executable, "-m", *arguments])

    def launch(self, name: str, command: list[str]) -> Process:
        """Start a program in the region's folder; whoever calls keeps it in `processes`."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as sink:
            popen = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", "PYTHONUNBUFFERED": "1"},
            )
        return Process(name, popen, log)

    def _write_secrets(self) -> None:
        book: dict[str, dict[str, str]] = {"hub": {"secret": "trial-hub-secret"}}
        for clinic in self.clinics:
            secret = f"trial-secret-of-{clinic.node}"
            book[clinic.node] = {"secret": secret, "region": REGION, "site": clinic.site}
            (self.folder / f"{clinic.node}-secret").write_text(secret)
            (self.folder / f"{clinic.node}-secret").chmod(0o600)
        secrets_file = self.folder / "hub" / "broker-secrets.json"
        secrets_file.write_text(json.dumps(book))
        secrets_file.chmod(0o600)
        seed: dict[str, dict[str, object]] = {
            name: {**person, "username": name, "password": PASSWORD} for name, person in STAFF.items()
        }
        seed["api"] = {
            "role": "program",
            "username": "api",
            "password": CLIENT_SECRET,
            "name_zh": "接口",
            "name_en": "API",
            "sites": [],
            "scopes": [
                f"system/{kind}.rs" for kind in ("Patient", "Observation", "Device", "ImagingStudy", "DiagnosticReport")
            ],
        }
        (self.folder / "hub" / "accounts-seed.json").write_text(json.dumps(seed))

    def _hub_config(self) -> str:
        kind = "external" if self.external_broker else "embedded"
        return f"""
region = "{REGION}"
name_zh = "中心"
name_en = "Hub"
phone = "028-0000-1111"
demo = true
[store]
samples_url = "sqlite:///hub/samples.db"
care_url = "sqlite:///hub/care.db"
[broker]
kind = "{kind}"
port = {self.ports["broker"]}
secrets_file = "hub/broker-secrets.json"
[web]
port = {self.ports["web"]}
totp_required = false
requests_per_minute = 100000
[ingest]
datagram_port = {self.ports["datagram"]}
[rpc]
port = {self.ports["files"]}
folder = "hub/blobs"
[accounts]
seed_file = "hub/accounts-seed.json"
[audit]
folder = "hub/audit"
"""

    def _edge_config(self, clinic: Clinic) -> str:
        beds = "".join(f'[[beds]]\nbed = "{bed}"\nlabel = "{bed[1:]}"\n' for bed in clinic.beds)
        devices = "".join(
            f'[[devices]]\ndevice = "mon-{bed.lower()}"\nfamily = "hl7_monitor"\nbed = "{bed}"\n'
            f'eui64 = "{clinic.eui64(bed)}"\n'
            for bed in clinic.beds
        )
        if clinic.camera:
            devices += (
                f'[[devices]]\ndevice = "camera-1"\nfamily = "camera"\nbed = "{clinic.beds[0]}"\n'
                f'source = "{clinic.camera}"\n'
            )
        consult = f"[consult]\nauto_answer = {str(clinic.auto_answer).lower()}\n"
        consult += 'camera = "camera-1"\n' if clinic.camera else ""
        consult += f'microphone = "{clinic.microphone}"\n' if clinic.microphone else ""
        return f"""
[node]
region = "{REGION}"
site = "{clinic.site}"
node = "{clinic.node}"
name_zh = "宝山镇卫生院"
name_en = "Baoshan Town Clinic"
phone = "028-0000-0000"
hub_phone = "028-0000-1111"
demo = true
[buffer]
folder = "{clinic.node}-buffer"
[uplink]
broker_port = {self.ports["broker"]}
secret_file = "{clinic.node}-secret"
longest_retry_s = 1
wave_block_s = 2
datagram_port = {self.ports["datagram"]}
[transfer]
hub_port = {self.ports["files"]}
[hl7]
port = {self.ports[f"{clinic.node}.hl7"]}
[bedside]
port = {self.ports[f"{clinic.node}.page"]}
{consult}{beds}{devices}{clinic.extra}"""

    def _admissions(self, clinic: Clinic) -> str:
        return "".join(
            f'[[persons]]\nbed = "{bed}"\n{clinic.name(bed)}\n'
            f'gender = "female"\nbirth_date = "1952-03-14"\n'
            f'identifiers = [{{system = "BAOSHAN", value = "{clinic.patient_id(bed)}"}}]\n'
            + (f"since = {clinic.since}\n" if clinic.since else "")
            + ('caregiver = "caregiver"\nconsents = ["C1", "C2", "C3", "C5"]\n' if bed == clinic.beds[0] else "")
            for bed in clinic.beds
        )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


R = TypeVar("R", bound=Region)


@contextlib.contextmanager
def running(region: R) -> Iterator[R]:
    """Prepare and start a region, hand it over, and end it whatever happens; on failure its logs are printed."""
    region.prepare()
    try:
        region.start()
        yield region
    except BaseException:
        print(region.logs())
        raise
    finally:
        region.stop()
