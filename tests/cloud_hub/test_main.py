"""The command line: what is wrong with a configuration is said with its place, before anything starts (row 40)."""

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from telemed.passwords import is_right

from cloud_hub.__main__ import main
from cloud_hub.config import load
from cloud_hub.node_access import open_authority
from cloud_hub.store import accounts, factors
from cloud_hub.store.accounts import SetBy
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from tests.fakes.ports import free_port

GOOD = """
region = "baoshan"
name_zh = "中心"
name_en = "Hub"
[store]
samples_url = "sqlite:///samples.db"
care_url = "sqlite:///care.db"
[broker]
secrets_file = "secrets.json"
[web]
port = 18080
"""
ARCHIVE = '[imaging.archive]\nidentifier_system = "s"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secrets.json").write_text(json.dumps({"hub": {"secret": "s"}}))
    return tmp_path


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """The command line sends logs to this test's own stderr, which is gone afterwards."""
    yield
    structlog.reset_defaults()


def _run(folder: Path, text: str, command: str = "check-config") -> int:
    (folder / "hub.toml").write_text(text)
    try:
        main([command, "--config", str(folder / "hub.toml")])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_good_configuration_is_in_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(folder, GOOD) == 0
    assert "in order" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("port = 18080", "prot = 18080", ":11: web.prot"),
        ("port = 18080", "port = 99999", ":11: web.port"),
        ("port = 18080", 'session_idle_minutes = "15 s"', ":11: web.session_idle_minutes"),
        ('region = "baoshan"', 'region = "宝山"', ":2: region"),
        ("[web]", "[web", "not valid TOML"),
        ('"secrets.json"', '"none.json"', "none.json: cannot be read"),
        ("sqlite:///care.db", "sqlite:///none/care.db", "store.care_url: folder"),
        ("sqlite:///care.db", "oracle://x", "store.care_url: oracle is not supported"),
        ("sqlite:///care.db", "care.db", "store.care_url: is no database URL"),
        ("port = 18080", 'metrics_token_file = "none"', "web.metrics_token_file"),
        ("port = 18080", "totp_required = false", "allowed in a demo only"),
        ("[web]", '[rpc]\nhost = "0.0.0.0"\n[web]', "rpc.host: not loopback, so nodes must have certificates"),
        ("[web]", '[ingest]\ndatagram_host = "192.0.2.7"\n[web]', "ingest.datagram_host: not loopback"),
        ("[broker]", '[broker]\nhost = "hub.example.org"', "broker.host: not loopback"),
        ("[web]", "[pki]\nnames = []\n[web]", "pki.names"),
        ("port = 18080", 'host = "0.0.0.0"', "web.host: not loopback, so passwords would cross the network"),
        ("port = 18080", '[web.https]\nhost = "0.0.0.0"', "web.https needs certificate_file and key_file, or [pki]"),
        ("port = 18080", '[web.https]\nhost = "0.0.0.0"\nkey_file = "k"', "come together"),
        ("[web]", f'{ARCHIVE}url = "http://192.0.2.7/dicom-web"\n[web]', ":10: imaging.archive: Value error, http"),
        ("[web]", f'{ARCHIVE}url = "https://pacs/x"\nuser = "me"\n[web]', "user and password_file come together"),
        ("[web]", f'{ARCHIVE}url = "https://pacs/x"\nca_file = "none"\n[web]', "imaging.archive.ca_file"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_exit_status_2(
    folder: Path, capsys: pytest.CaptureFixture[str], wrong: str, right: str, said: str
) -> None:
    assert _run(folder, GOOD.replace(wrong, right)) == 2
    assert said in capsys.readouterr().err


def test_a_hub_without_its_own_secret_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "secrets.json").write_text(json.dumps({"edge": {"secret": "s", "region": "r", "site": "s"}}))

    assert _run(folder, GOOD) == 2
    assert "no secret for the hub itself" in capsys.readouterr().err


def test_a_port_in_use_is_said_and_nothing_starts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert _run(folder, GOOD.replace("18080", str(port)), "serve") == 2

    assert f"web.port: 127.0.0.1:{port} cannot be used" in capsys.readouterr().err
    assert not (folder / "care.db").exists()


def test_a_hub_whose_key_of_second_factors_is_lost_says_so_and_makes_no_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    care = Database(f"sqlite:///{folder / 'care.db'}", CARE, "care")
    care.migrate()
    care.write_blocking(lambda c: factors.save_totp(c, factors.Totp("clinic", b"sealed", True, 0), 1))
    care.close()
    assert _run(folder, GOOD.replace("18080", str(free_port())), "serve") == 2
    assert "accounts-key is gone, and 1 second factor" in capsys.readouterr().err
    assert not (folder / "accounts-key").exists()


OIDC = """
[oidc]
issuer = "https://login.example"
client_id = "hub"
redirect_uri = "https://hub.example/api/v1/oidc/callback"
name_zh = "认证"
name_en = "Provider"
"""


def _accounts(folder: Path, *arguments: str) -> int:
    (folder / "hub.toml").write_text(GOOD)
    try:
        main(["accounts", "--config", str(folder / "hub.toml"), *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_an_account_is_made_listed_and_disabled_from_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("amber-birch-cedar-0001\n"))
    names = ("--name-zh", "苏叶", "--name-en", "Su Ye")
    made = _accounts(folder, "set", "su-ye", "--role", "clinic", "--site", "baoshan-clinic", *names)
    listed = _accounts(folder, "list")
    shown = capsys.readouterr().out
    disabled = _accounts(folder, "disable", "su-ye")

    assert (made, listed, disabled) == (0, 0, 0)
    assert shown.count("baoshan-clinic") == 2
    assert "amber" not in shown
    assert "disabled" in capsys.readouterr().out


def test_a_first_password_is_made_printed_once_and_to_be_changed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("--name-zh", "苏叶", "--name-en", "Su Ye")
    assert _accounts(folder, "set", "su-ye", "--role", "clinic", "--site", "baoshan-clinic", "--generate", *names) == 0
    secret = capsys.readouterr().out.rsplit("good for three days: ", 1)[1].strip()
    database = Database(f"sqlite:///{folder}/care.db", CARE, "care")
    account = database.read_blocking(lambda connection: accounts.account_of(connection, "su-ye"))
    database.close()
    assert account is not None
    assert is_right(account.password_hash, secret)
    assert account.password_by is SetBy.OPERATOR


def test_an_account_that_does_not_exist_or_a_weak_password_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("x\n"))
    weak = _accounts(folder, "set", "su-ye", "--role", "clinic", "--name-zh", "x", "--name-en", "x")
    absent = _accounts(folder, "disable", "nobody")

    assert (weak, absent) == (1, 1)
    assert "there is no account nobody" in capsys.readouterr().err


def test_an_account_is_linked_to_the_identity_provider_once_and_taken_off_again(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("amber-birch-cedar-0001\n"))
    assert _accounts(folder, "set", "su-ye", "--role", "nurse", "--name-zh", "苏叶", "--name-en", "Su Ye") == 0
    assert _accounts(folder, "link", "su-ye", "s-1") == 1
    monkeypatch.setattr("tests.cloud_hub.test_main.GOOD", GOOD + OIDC)
    outcomes = [
        _accounts(folder, *arguments)
        for arguments in (
            ("link", "su-ye", "s-1"),
            ("link", "su-ye", "s-1"),
            ("link", "nobody", "s-2"),
            ("unlink", "su-ye"),
            ("unlink", "su-ye"),
        )
    ]
    assert outcomes == [0, 1, 1, 0, 1]
    assert "s-1 is linked already" in capsys.readouterr().err


def test_a_secret_at_the_provider_that_cannot_be_read_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD.replace("18080", str(free_port())) + OIDC + 'client_secret_file = "no-such-file"\n'
    assert _run(folder, text, "serve") == 2
    assert "oidc.client_secret_file" in capsys.readouterr().err


def test_with_an_authority_the_listeners_may_leave_loopback_and_no_secrets_are_needed(folder: Path) -> None:
    (folder / "secrets.json").unlink()
    text = GOOD.replace("[broker]", '[broker]\nhost = "0.0.0.0"').replace(
        "[web]", '[rpc]\nhost = "0.0.0.0"\n[pki]\nnames = ["192.0.2.7"]\n[web]'
    )
    assert _run(folder, text) == 0
    assert not (folder / "pki").exists(), "the start makes the authority"
    config = load(folder / "hub.toml")
    assert config.pki is not None
    open_authority(config, config.pki)
    (folder / "pki" / "ca.key").chmod(0o640)
    assert _run(folder, text) == 2


def test_a_hub_without_an_authority_invites_nobody(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "hub.toml").write_text(GOOD)
    with pytest.raises(SystemExit):
        main(["nodes", "--config", str(folder / "hub.toml"), "invite", "site", "node"])
    assert "[pki] is not in the configuration" in capsys.readouterr().err
