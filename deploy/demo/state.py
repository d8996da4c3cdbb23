"""Makes the demo's state: secrets, accounts, configurations, admissions.  Made once, kept between starts."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.model import MODEL_FOLDER, ROOT_FILE
from deploy.demo.story import API_SCOPES, REGION, SCANNER, SITES, STAFF, Bed, Site

AGREED = ["C1", "C2", "C3"]
"""What everybody in the demo agreed to; whoever has a caregiver also to their access."""

WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "islet",
    "jade",
    "koala",
    "lotus",
    "maple",
    "north",
    "ocean",
    "pearl",
    "quill",
    "river",
]


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of the demo; `offset` lets a second demo run beside the first."""

    offset: int

    @property
    def web(self) -> int:
        """The hub's page."""
        return 8080 + self.offset

    @property
    def broker(self) -> int:
        """MQTT on loopback."""
        return 1883 + self.offset

    @property
    def datagram(self) -> int:
        """UDP for alarms, on loopback."""
        return 8443 + self.offset

    @property
    def files(self) -> int:
        """GRPC on loopback."""
        return 8443 + self.offset

    def page(self, site: Site) -> int:
        """The bedside page of a site."""
        return site.http_port + self.offset

    def hl7(self, site: Site) -> int:
        """MLLP port of a site."""
        return site.hl7_port + self.offset

    @property
    def dicom(self) -> int:
        """Where the clinic's node takes images."""
        return 11112 + self.offset

    def control(self, site: Site) -> int:
        """Where the simulated patients of a site take orders ("set spo2 81")."""
        return site.hl7_port + 3000 + self.offset


def quoted(value: str) -> str:
    """Return a TOML basic string; JSON's escapes are TOML's too."""
    return json.dumps(value, ensure_ascii=False)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def pass_phrase() -> str:
    """Return a password that can be typed: three words and four digits, about 2^26 of them on loopback only."""
    return "-".join(secrets.choice(WORDS) for _ in range(3)) + f"-{secrets.randbelow(10_000):04d}"


def make_accounts(folder: Path) -> dict[str, dict[str, str]]:
    """Return the demo's accounts as written to accounts.json, made anew if there are none."""
    path = folder / "accounts.json"
    if not path.exists():
        accounts: dict[str, dict[str, str]] = {name: {"username": name, "password": pass_phrase()} for name in STAFF}
        accounts["api"] = {"client_id": "api", "client_secret": secrets.token_urlsafe(24)}
        write_secret(path, json.dumps(accounts, indent=1) + "\n")
        seed: dict[str, dict[str, object]] = {
            name: {**STAFF[name], "username": name, "password": accounts[name]["password"]} for name in STAFF
        }
        seed["api"] = {
            "role": "program",
            "username": "api",
            "password": accounts["api"]["client_secret"],
            "name_zh": "演示接口程序",
            "name_en": "Demo API client",
            "sites": [],
            "scopes": API_SCOPES,
        }
        write_secret(folder / "hub" / "accounts-seed.json", json.dumps(seed, indent=1, ensure_ascii=False) + "\n")
    loaded: dict[str, dict[str, str]] = json.loads(path.read_text())
    return loaded


def make_broker_secrets(folder: Path) -> None:
    """Give the hub and each node a secret of its own at the broker."""
    path = folder / "hub" / "broker-secrets.json"
    if path.exists():
        return
    book: dict[str, dict[str, str]] = {"hub": {"secret": secrets.token_urlsafe(24)}}
    for site in SITES:
        secret = secrets.token_urlsafe(24)
        book[site.node] = {"secret": secret, "region": REGION, "site": site.site}
        write_secret(folder / site.node / "broker-secret", secret)
    write_secret(path, json.dumps(book, indent=1) + "\n")


def hub_config(ports: Ports) -> str:
    """Text of hub.toml."""
    return f"""# Written by the demo at every start.
region = "{REGION}"
name_zh = "宝山片区中心医院"
name_en = "Baoshan Region Hub"
phone = "028-0000-1111"
demo = true

[store]
samples_url = "sqlite:///hub/samples.db"
care_url = "sqlite:///hub/care.db"

[broker]
port = {ports.broker}
secrets_file = "hub/broker-secrets.json"

[web]
port = {ports.web}
totp_required = false
# People who try the demo with programs of their own ask more often than a ward does.
requests_per_minute = 6000

[ingest]
datagram_port = {ports.datagram}

[rpc]
port = {ports.files}
folder = "hub/blobs"

[accounts]
seed_file = "hub/accounts-seed.json"
"""


def edge_config(site: Site, ports: Ports, record: str) -> str:
    """Text of a node's configuration; `record` is a WFDB or EDF file to replay at an own spot, or empty."""
    lines = [
        "# Written by the demo at every start.",
        "[node]",
        f'region = "{REGION}"',
        f'site = "{site.site}"',
        f'node = "{site.node}"',
        f"name_zh = {quoted(site.name_zh)}",
        f"name_en = {quoted(site.name_en)}",
        f'phone = "{site.phone}"',
        'hub_phone = "028-0000-1111"',
        f"home = {str(site.home).lower()}",
        "demo = true",
        "[buffer]",
        f'folder = "{site.node}/buffer"',
        "[uplink]",
        f"broker_port = {ports.broker}",
        f"datagram_port = {ports.datagram}",
        f'secret_file = "{site.node}/broker-secret"',
        "longest_retry_s = 2",
        "[transfer]",
        f"hub_port = {ports.files}",
        "look_every_s = 5",
        "[hl7]",
        f"port = {ports.hl7(site)}",
        "[bedside]",
        f"port = {ports.page(site)}",
        "[consult]",
        "auto_answer = true",
        *([] if site.home else ['camera = "camera-1"', 'microphone = "test-camera.wav"']),
    ]
    if not site.home:
        # A study goes to the hub as soon as the scanner is done: nobody who tries the demo waits for half a minute.
        lines += ["[imaging]", f"port = {ports.dicom}", f'senders = ["{SCANNER}"]', "complete_after_s = 5"]
        # Everybody in the demo is made up, as the heads are that the model was trained on.
        lines += ["[inference]", f'root_file = "{MODEL_FOLDER}/{ROOT_FILE}"', "threads = 1", "research = true"]
    for bed in site.beds:
        lines += ["[[beds]]", f'bed = "{bed.bed}"', f"label = {quoted(bed.label)}"]
    if record and not site.home:
        lines += ["[[beds]]", 'bed = "REC"', 'label = "回放"']
    for bed in site.beds:
        lines += [
            "[[devices]]",
            f'device = "mon-{bed.bed.lower()}"',
            'family = "hl7_monitor"',
            f'bed = "{bed.bed}"',
            f'eui64 = "{bed.eui64}"',
            'model = "QY-MON 12"',
        ]
        if bed.location:
            lines.append(f"locations = [{quoted(bed.location)}]")
    if not site.home:
        lines += [
            "[[devices]]",
            'device = "camera-1"',
            'family = "camera"',
            f'bed = "{site.beds[0].bed}"',
            'source = "test-camera.mp4"',
        ]
        if record:
            lines += [
                "[[devices]]",
                'device = "replay-1"',
                'family = "recorded"',
                'bed = "REC"',
                f"record = {quoted(record)}",
            ]
    return "\n".join(lines) + "\n"


def ward_file(site: Site, folder: Path, ports: Ports) -> str:
    """Text of the file from which the simulated patients of a site are played."""
    lines = [
        "# Written by the demo at every start.",
        f"port = {ports.hl7(site)}",
        f"control_port = {ports.control(site)}",
    ]
    for bed in site.beds:
        if bed.profile == "record":
            # The recording has waves alone: the monitor's second connection sends the numerics.
            lines += [*monitor(bed), f"record = {quoted(str(folder / 'records' / 'demo.hea'))}"]
            lines += [*monitor(bed), 'profile = "stable"', "waves = false"]
        elif bed.profile:
            lines += [*monitor(bed), f'profile = "{bed.profile}"']
    return "\n".join(lines) + "\n"


def monitor(bed: Bed) -> list[str]:
    """Lines of the ward file that say which monitor speaks and of whom."""
    return [
        "[[patients]]",
        f'bed = "{bed.bed}"',
        f'eui64 = "{bed.eui64}"',
        f'patient_id = "{bed.person.number}"',
        f"family_name = {quoted(bed.person.family)}",
        f"given_name = {quoted(bed.person.given)}",
        f'sex = "{bed.person.gender[0].upper()}"',
    ]


def admissions_file(site: Site) -> str:
    """Text of the file from which `edge-node admit` puts people into beds."""
    lines = []
    for bed in site.beds:
        person = bed.person
        lines += [
            "[[persons]]",
            f'bed = "{bed.bed}"',
            f"family_name = {quoted(person.family)}",
            f"given_name = {quoted(person.given)}",
            f"name_en = {quoted(person.name_en)}",
            f'gender = "{person.gender}"',
            f'birth_date = "{person.birth_date}"',
            f'identifiers = [{{system = "BAOSHAN", value = "{person.number}"}}]',
            f"allergies = {quoted(person.allergies)}",
            f"note = {quoted(person.note)}",
            f"caregiver = {quoted(person.caregiver)}",
            f"caregiver_calls = {quoted(person.calls)}",
            f"consents = {json.dumps([*AGREED, 'C5'] if person.caregiver else AGREED)}",
            f'episode_class = "{"HOMEWARD" if site.home else "CHRONIC"}"',
            "since = 2026-01-05T08:00:00+08:00",
        ]
    return "\n".join(lines) + "\n"
