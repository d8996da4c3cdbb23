"""`cloud-hub authority`: from a request to a chain in place, and from a successor to the end of the one before."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select
from telemed.topics import NodeAddress

from cloud_hub.__main__ import main
from cloud_hub.access import authorities, device_ca
from cloud_hub.access.device_ca import Authority
from cloud_hub.access.enrolment import Enrolment, Rules, Who
from cloud_hub.config import load
from cloud_hub.node_access import open_authority
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, audit
from edge_node.uplink.certificates import private_pem, request_for
from tests.fakes.containers import CLINIC
from tests.fakes.organisation import SUBORDINATE, Organisation, needs_openssl

CONFIG = """
region = "baoshan"
name_zh = "中心"
name_en = "Hub"
[store]
samples_url = "sqlite:///samples.db"
care_url = "sqlite:///care.db"
[broker]
[pki]
names = ["hub.example.org"]
"""
LOOKING = (
    ("check-config",),
    ("nodes", "list"),
    ("nodes", "invite", CLINIC.site, CLINIC.node),
    ("nodes", "revoke", CLINIC.site, CLINIC.node),
)


@dataclass
class Line:
    """The command line of a hub, in a folder of its own."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    config: str = CONFIG

    def say(self, *words: str) -> tuple[int, str]:
        """Run a command; return its exit status and all that it said."""
        (self.folder / "hub.toml").write_text(self.config)
        try:
            main([words[0], "--config", str(self.folder / "hub.toml"), *words[1:]])
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = self.capsys.readouterr()
        return status, said.out + said.err

    def ask(self, *words: str) -> bytes:
        """The request that the command prints."""
        status, said = self.say("authority", "request", *words)
        assert status == 0
        return said.encode()

    def start(self) -> None:
        """What a start of the hub does to the authority's folder."""
        (self.folder / "hub.toml").write_text(self.config)
        config = load(self.folder / "hub.toml")
        assert config.pki is not None
        open_authority(config, config.pki)

    def stored(self) -> dict[str, bytes]:
        """Everything in the authority's folder."""
        return {file.name: file.read_bytes() for file in (self.folder / "pki").glob("*")}

    def audited(self) -> list[tuple[str, str, str]]:
        """What stands in the trail: action, object, result."""
        database = Database(f"sqlite:///{self.folder}/care.db", CARE, "care")
        try:
            query = select(audit.c.action, audit.c.object, audit.c.result).order_by(audit.c.id)
            return database.read_blocking(lambda c: [tuple(row) for row in c.execute(query)])
        finally:
            database.close()


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Line]:
    yield Line(tmp_path, capsys)
    structlog.reset_defaults()


def put(line: Line, pem: bytes) -> str:
    """Write a chain where `install` is pointed at."""
    file = line.folder / "chain.pem"
    file.write_bytes(pem)
    return str(file)


@needs_openssl
def test_an_organisation_signs_what_the_command_prints_and_the_hub_stands_below_it(line: Line) -> None:
    hospital, request = Organisation(line.folder / "hospital"), line.ask()
    assert request.startswith(b"-----BEGIN CERTIFICATE REQUEST-----")
    assert b"PRIVATE" not in request
    status, said = line.say("authority", "install", put(line, hospital.sign(request)))
    assert (status, "authority 1 issues from the next start on" in said) == (0, True)
    assert line.say("check-config")[0] == 0
    line.start()
    assert hospital.verifies(line.folder / "pki" / "listeners.pem")
    status, said = line.say("authority", "show")
    assert "1 issues" in said
    assert f"until {datetime.now(UTC) + timedelta(days=1825):%Y}" in said
    assert line.audited() == [
        ("authority-install", "authority/chain", "begun"),
        ("authority-install", "authority/1", "ok"),
    ]
    status, said = line.say("authority", "install", put(line, hospital.sign(line.ask("--same-key"))))
    assert (status, "authority 1 has a new chain" in said) == (0, True)


@needs_openssl
@pytest.mark.parametrize(
    ("lines", "days", "why"),
    [
        (("basicConstraints = CA:FALSE",), (-1, 100), "CA:TRUE is missing"),
        ((*SUBORDINATE, "nameConstraints = critical, permitted;DNS:elsewhere.example"), (-1, 100), "name constraints"),
        (SUBORDINATE, (-20, -10), "ended at"),
    ],
)
def test_what_is_not_good_is_refused_in_plain_words_and_nothing_is_put_in_place(
    line: Line, lines: tuple[str, ...], days: tuple[int, int], why: str
) -> None:
    hospital = Organisation(line.folder / "hospital")
    status, said = line.say("authority", "install", put(line, hospital.sign(line.ask(), lines, days=days)))
    assert status == 1
    assert why in said
    assert line.say("authority", "show") == (0, "no authority yet: the first start makes one\n")


def test_nothing_that_was_never_asked_for_can_be_installed(line: Line) -> None:
    pem = device_ca.new_authority("baoshan").certificate.public_bytes(Encoding.PEM)
    status, said = line.say("authority", "install", put(line, pem))
    assert (status, "begin with `cloud-hub authority request`" in said) == (1, True)
    status, said = line.say("authority", "install", "no-such-file")
    assert (status, "no-such-file: No such file" in said) == (2, True)


def give(line: Line, address: NodeAddress) -> None:
    """Have the hub give a node a certificate."""
    database = Database(f"sqlite:///{line.folder}/care.db", CARE, "care")
    database.migrate()
    rules = Rules("baoshan", timedelta(days=7), timedelta(days=30), "hub")
    enrolment = Enrolment(device_ca.new_authority("baoshan"), rules, time.time_ns)
    secret = database.write_blocking(lambda c: enrolment.invite(c, Who("operator", "operator"), address))
    request = request_for(device_ca.new_key(), address.node)
    database.write_blocking(lambda c: enrolment.enrol(c, secret, request))
    database.close()


def test_an_earlier_authority_is_ended_when_no_node_is_bound_to_it_or_by_force(line: Line) -> None:
    line.start()
    assert line.say("authority", "retire") == (0, "there is one authority alone: nothing to end\n")
    give(line, CLINIC)
    status, said = line.say("authority", "next")
    assert (status, "authority 2 is made" in said) == (0, True)
    status, said = line.say("authority", "retire")
    assert (status, "1 nodes are bound" in said, "baoshan-clinic/edge-clinic" in said) == (1, True, True)
    assert len(line.say("authority", "show")[1].splitlines()) == 2
    status, said = line.say("authority", "retire", "--now")
    assert (status, "trusted no more: authority 1" in said) == (0, True)
    assert line.say("check-config")[0] == 0
    assert line.audited()[-4:] == [
        ("authority-next", "authority/next", "begun"),
        ("authority-next", "authority/2", "ok"),
        ("authority-retire", "authority/1", "begun"),
        ("authority-retire", "authority/1", "ok"),
    ]


@needs_openssl
def test_nothing_changes_where_the_trail_cannot_be_written_and_what_breaks_off_has_its_line(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital = Organisation(line.folder / "hospital")
    line.start()
    authorities.add_next(line.folder / "pki", "baoshan")
    chain, good = put(line, hospital.sign(line.ask())), line.config
    line.config = good.replace("care.db", "gone/care.db")
    before = line.stored()
    for words in (("next",), ("install", chain), ("retire", "--now")):
        assert line.say("authority", *words)[0] == 1
        assert line.stored() == before
    line.config = good
    monkeypatch.setattr(authorities, "add_next", _fail)
    monkeypatch.setattr(authorities, "retire", _fail)
    for words in (("next",), ("retire", "--now")):
        assert line.say("authority", *words)[0] == 2
    assert line.audited() == [
        ("authority-next", "authority/next", "begun"),
        ("authority-retire", "authority/1", "begun"),
    ]


def _fail(*_given: object) -> None:
    raise OSError(28, "No space left on device", "pki")


def test_the_last_key_that_is_left_is_not_destroyed(line: Line) -> None:
    line.start()
    line.say("authority", "next")
    (line.folder / "pki" / "ca-2.key").unlink()
    status, said = line.say("authority", "retire", "--now")
    assert (status, "the key of the newest authority is gone" in said) == (1, True)
    assert (line.folder / "pki" / "ca.key").exists()


def test_a_hub_whose_key_is_lost_is_mended_by_the_command_that_the_refusal_names(line: Line) -> None:
    line.start()
    (line.folder / "pki" / "ca.key").unlink()
    status, said = line.say("check-config")
    assert (status, "`cloud-hub authority next`" in said) == (2, True)
    assert "its key is not in the folder" in line.say("authority", "show")[1]
    assert line.say("authority", "next")[0] == 0
    assert line.say("check-config")[0] == 0


def made_elsewhere(line: Line) -> Authority:
    """An authority below an organisation's, as the files that a configuration may name."""
    made = Organisation(line.folder / "hospital").another("baoshan")
    (line.folder / "own.key").write_bytes(private_pem(made.key))
    (line.folder / "own.key").chmod(0o600)
    (line.folder / "own.pem").write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in made.chain))
    return made


@needs_openssl
def test_what_only_looks_takes_no_authority_in(line: Line) -> None:
    for words in LOOKING:
        status, _ = line.say(*words)
        assert status == (0 if words == ("check-config",) else 2), "there is none yet"
    assert line.stored() == {}
    line.start()
    authorities.add_next(line.folder / "pki", "baoshan")
    (line.folder / "pki" / "ca.pem").unlink()  # As a `retire` leaves it that was killed.
    before, without = line.stored(), line.config
    made_elsewhere(line)
    line.config += 'authority_file = "own.pem"\nauthority_key_file = "own.key"\n'
    for words in LOOKING:
        assert line.say(*words)[0] == 0
        assert line.stored() == before
    line.config = without
    line.start()
    assert "Yuanzhen baoshan device CA 2" in line.say("authority", "show")[1]


@needs_openssl
def test_an_authority_made_elsewhere_is_named_in_the_configuration_and_changed_there(line: Line) -> None:
    made = made_elsewhere(line)
    line.config += 'authority_file = "own.pem"\n'
    assert line.say("check-config")[0] == 2
    line.config += 'authority_key_file = "own.key"\n'
    assert line.say("check-config")[0] == 0
    line.start()
    shown = x509.load_pem_x509_certificates((line.folder / "pki" / "listeners.pem").read_bytes())
    assert shown[0].issuer == made.chain[0].subject
    for words in (("next",), ("request",), ("install", "own.pem")):
        status, said = line.say("authority", *words)
        assert (status, "put its successor in those files" in said) == (1, True)


def test_without_certificates_there_is_no_authority(line: Line) -> None:
    line.config = CONFIG.split("[pki]", maxsplit=1)[0]
    status, said = line.say("authority", "show")
    assert (status, "[pki] is not in the configuration" in said) == (2, True)
