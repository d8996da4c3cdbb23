"""Who may do what at the broker: the same rules for both brokers."""

import json
import stat
from pathlib import Path

import pytest

from cloud_hub.broker_mosquitto import rights, write_settings
from cloud_hub.broker_rights import Users, load_users
from cloud_hub.errors import ConfigRefused
from tests.fakes.brokers import SECRETS
from tests.fakes.containers import CLINIC, HOME


@pytest.fixture
def users(tmp_path: Path) -> Users:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps(SECRETS))
    return load_users(path)


def test_a_node_enters_with_its_secret_and_a_client_id_of_its_own(users: Users) -> None:
    assert users.admit("edge-clinic", "clinic-secret", "edge-clinic.alarm", None) is not None
    for name, secret, client in (
        ("edge-clinic", "home-secret", "edge-clinic.alarm"),
        ("edge-clinic", "", "edge-clinic.alarm"),
        ("edge-clinic", None, "edge-clinic.alarm"),
        ("edge-clinic", "clinic-secret", "edge-home.alarm"),
        ("edge-clinic", "clinic-secret", "edge-clinic"),
        ("edge-clinic", "clinic-secret", None),
        ("nobody", "clinic-secret", "nobody.alarm"),
        (None, None, "x.y"),
    ):
        assert users.admit(name, secret, client, None) is None


def test_a_last_will_is_refused(users: Users) -> None:
    assert users.admit("edge-clinic", "clinic-secret", "edge-clinic.alarm", CLINIC.up_prefix + "alarm") is None


def test_a_node_has_its_own_topics_only(users: Users) -> None:
    clinic, hub = users.by_name["edge-clinic"], users.by_name["hub"]
    assert clinic.may_publish(CLINIC.up_prefix + "alarm")
    assert clinic.may_read(CLINIC.down_prefix + "#")
    wrong_shard = CLINIC.up_prefix.replace(f"up/{CLINIC.shard}/", f"up/{(CLINIC.shard + 1) % 16}/")
    for topic in (HOME.up_prefix + "alarm", wrong_shard + "alarm", CLINIC.down_prefix + "receipt", "x", "$SYS/x"):
        assert not clinic.may_publish(topic)
    for topic in ("#", "up/#", "down/#", "down/+/+/+/#", HOME.down_prefix + "#", CLINIC.up_prefix + "#"):
        assert not clinic.may_read(topic)
    assert (hub.may_read("up/#"), hub.may_publish(HOME.down_prefix + "receipt")) == (True, True)
    assert (hub.may_read("#"), hub.may_publish(HOME.up_prefix + "alarm")) == (False, False)


def test_mosquitto_gets_the_same_rights_and_no_plain_secret(tmp_path: Path, users: Users) -> None:
    config = write_settings(tmp_path / "secrets.json", tmp_path / "out", "127.0.0.1", 1883)
    text = rights(users)
    assert f"user edge-clinic\ntopic write {CLINIC.up_prefix}#\ntopic read {CLINIC.down_prefix}#\n" in text
    assert "user hub\ntopic write down/#\ntopic read up/#\n" in text
    passwords = (tmp_path / "out" / "passwords").read_text()
    assert "clinic-secret" not in passwords
    assert "allow_anonymous false" in config.read_text()
    assert stat.S_IMODE((tmp_path / "out" / "passwords").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "entry",
    ["x", {"region": "r", "site": "s"}, {"secret": "x", "region": "r"}, {"secret": "x", "region": "R!", "site": "s"}],
)
def test_a_wrong_secrets_file_is_refused(tmp_path: Path, entry: object) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"edge-x": entry}))
    with pytest.raises(ConfigRefused):
        load_users(path)
    path.write_text("{")
    with pytest.raises(ConfigRefused):
        load_users(path)
