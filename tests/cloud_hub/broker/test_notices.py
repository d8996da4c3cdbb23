"""What the broker reports becomes a notice about a node, and about nobody else."""

import json
from pathlib import Path

import pytest

from cloud_hub.broker_notices import BrokerNotices
from cloud_hub.broker_rights import load_users
from tests.fakes.brokers import SECRETS


@pytest.fixture
def noted() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def now_s() -> list[float]:
    return [0.0]


@pytest.fixture
def judged(tmp_path: Path, noted: list[tuple[str, str]], now_s: list[float]) -> BrokerNotices:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps(SECRETS))
    return BrokerNotices(load_users(path), lambda address, code: noted.append((address.node, code)), lambda: now_s[0])


def test_a_refused_topic_and_a_wrong_secret_are_told_of_the_node(
    judged: BrokerNotices, noted: list[tuple[str, str]]
) -> None:
    judged.take("topic-refused", "user=edge-clinic action=Action.PUBLISH")
    judged.take("connect-refused", "user=edge-home")
    assert noted == [("edge-clinic", "topic-refused"), ("edge-home", "connect-refused")]


@pytest.mark.parametrize("detail", ["user=stranger", "user=hub", "", "user=", "client=.vitals"])
def test_strangers_and_the_hub_itself_are_passed_over(
    judged: BrokerNotices, noted: list[tuple[str, str]], detail: str
) -> None:
    for what in ("topic-refused", "connect-refused", "taken-over", "amqtt"):
        judged.take(what, detail)
        judged.take(what, detail)
    assert noted == []


def test_the_second_flip_within_a_minute_is_told_and_a_line_that_broke_once_is_not(
    judged: BrokerNotices, noted: list[tuple[str, str]], now_s: list[float]
) -> None:
    judged.take("taken-over", "client=edge-clinic.vitals")
    judged.take("taken-over", "client=edge-clinic.alarm")
    now_s[0] = 61
    judged.take("taken-over", "client=edge-clinic.vitals")
    assert noted == []
    now_s[0] = 100
    judged.take("taken-over", "client=edge-clinic.vitals")
    assert noted == [("edge-clinic", "node-taken-over")]
