"""Files that a person or an installer wrote: configurations, accounts, secrets, rulesets."""

from collections.abc import Callable, Iterable
from pathlib import Path

from cloud_hub import config as hub_config
from cloud_hub.access import seed
from cloud_hub.broker_rights import load_users
from cloud_hub.errors import ConfigRefused as HubRefused
from edge_node import admit
from edge_node import config as edge_config
from edge_node.alarms import ruleset
from edge_node.errors import ConfigRefused as EdgeRefused
from tests.fuzz.target import Target, scratch
from tests.region.region import Clinic, Region

_FOLDER = scratch()
HUB_TOML = b"""region = "baoshan"
name_zh = "a"
name_en = "b"
utc_offset = "+08:00"
[store]
samples_url = "sqlite:///hub/samples.db"
care_url = "sqlite:///hub/care.db"
[broker]
secrets_file = "secrets.json"
[web]
port = 8080
"""
ACCOUNTS = (
    b'{"physician": {"role": "physician", "username": "p", "password": "amber-birch-cedar-0001", "sites": []},'
    b' "api": {"role": "program", "client_id": "api", "client_secret": "s", "scopes": ["system/Patient.rs"]}}'
)
_CLINIC = Clinic(camera="clip.mp4")
_PORTS = ("web", "broker", "datagram", "files", "edge-clinic.page", "edge-clinic.hl7")
_REGION = Region(_FOLDER, (_CLINIC,), ports=dict.fromkeys(_PORTS, 4000))
SECRETS = b'{"hub": {"secret": "s"}, "edge-clinic": {"secret": "t", "region": "baoshan", "site": "baoshan-clinic"}}'


def _written(data: bytes, name: str) -> Path:
    path = _FOLDER / name
    path.write_bytes(data)
    return path


def _node() -> edge_config.EdgeConfig:
    return edge_config.load(_written(_REGION._edge_config(_CLINIC).encode(), "node.toml"))


def _refused_by_name(read: Callable[[Path], object], path: Path, refusal: type[Exception]) -> None:
    said = path.name
    try:
        read(path)
    except refusal as refused:
        said = str(refused)
    assert path.name in said, "a refusal that does not say which file"


def hub(data: bytes) -> None:
    """Pass where the hub's configuration is read, or refused with its file."""
    _refused_by_name(hub_config.load, _written(data, "hub.toml"), HubRefused)


def edge(data: bytes) -> None:
    """Pass where a node's configuration is read, or refused with its file."""
    _refused_by_name(edge_config.load, _written(data, "edge.toml"), EdgeRefused)


def accounts(data: bytes) -> None:
    """Pass where a file of accounts is read, or refused with its name."""
    _refused_by_name(seed.read_accounts, _written(data, "accounts.json"), HubRefused)


def secrets(data: bytes) -> None:
    """Pass where the broker's secrets are read, or refused with their file."""
    _refused_by_name(load_users, _written(data, "secrets.json"), HubRefused)


def admissions(data: bytes) -> None:
    """Pass where a file of admissions is read, or refused with its name."""
    _refused_by_name(lambda path: admit.load(path, NODE), _written(data, "admissions.toml"), EdgeRefused)


def rules(data: bytes) -> None:
    """Pass where a ruleset is read, or refused with its file."""
    _refused_by_name(ruleset.load, _written(data, "rules.toml"), EdgeRefused)


def hub_files() -> Iterable[bytes]:
    """A configuration, and what nests deeply or counts far."""
    yield HUB_TOML
    yield b"region = " + b"[" * 60 + b"]" * 60
    yield HUB_TOML.replace(b"8080", b"1" * 60)


def edge_files() -> Iterable[bytes]:
    """The configuration of a clinic of the region under test."""
    yield _REGION._edge_config(_CLINIC).encode()


NODE = _node()
ANSWER = "It is read, or refused with the name of the file."
HUB = Target("hub-config", ANSWER, hub, hub_files, 16_384)
EDGE = Target("edge-config", ANSWER, edge, edge_files, 16_384)
SEED = Target("accounts", ANSWER, accounts, lambda: [ACCOUNTS], 16_384)
ADMISSIONS = Target("admissions", ANSWER, admissions, lambda: [_REGION._admissions(_CLINIC).encode()], 8192)
RULES = Target("ruleset", ANSWER, rules, lambda: [ruleset.DEFAULT.read_bytes()], 16_384)
BROKER = Target("broker-secrets", ANSWER, secrets, lambda: [SECRETS], 16_384)
