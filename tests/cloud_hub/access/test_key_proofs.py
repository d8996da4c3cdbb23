"""Codes that stand for a key's answer, and the rules of a hub's domain for keys."""

from typing import Any

import pytest
from pydantic import ValidationError

from cloud_hub.access import key_proofs
from cloud_hub.access.key_proofs import LIFETIME_NS, KeyProofs
from cloud_hub.config import PasskeysConfig


def test_a_code_counts_once_for_its_account_within_two_minutes() -> None:
    proofs = KeyProofs()
    code = proofs.give("physician", 0)
    assert not proofs.spend("clinic", code, 1)
    assert not proofs.spend("physician", "", 1)
    assert proofs.spend("physician", code, LIFETIME_NS - 1)
    assert not proofs.spend("physician", code, LIFETIME_NS - 1)
    assert not proofs.spend("physician", proofs.give("physician", 0), LIFETIME_NS)


def test_an_answer_to_a_challenge_is_taken_once_and_no_code_is_one() -> None:
    proofs = KeyProofs()
    assert proofs.is_first("challenge", 0)
    assert not proofs.is_first("challenge", 1)
    assert not proofs.spend("", "other", 1)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_proofs, "REMEMBERED", 2)
    proofs = KeyProofs()
    codes = [proofs.give("physician", 0) for _ in range(3)]
    assert [proofs.spend("physician", code, 1) for code in codes] == [False, True, True]


@pytest.mark.parametrize(
    ("rp_id", "origins"),
    [
        ("hub.example", ["https://hub.example"]),
        ("example", ["https://hub.example:8444", "https://example"]),
        ("localhost", ["http://localhost:8080"]),
    ],
)
def test_pages_of_the_domain_may_use_its_keys(rp_id: str, origins: list[str]) -> None:
    assert PasskeysConfig(rp_id=rp_id, origins=origins).rp_id == rp_id


@pytest.mark.parametrize(
    "change",
    [
        {"origins": []},
        {"origins": ["http://hub.example"]},
        {"origins": ["http://127.0.0.1:8080"]},
        {"origins": ["https://other.example"]},
        {"origins": ["https://evilhub.example"]},
        {"origins": ["https://hub.example/"]},
        {"origins": ["https://user@hub.example"]},
        {"rp_id": "https://hub.example"},
        {"origins": ["https://Hub.example"]},
        {"rp_id": ""},
    ],
)
def test_pages_of_elsewhere_or_over_a_readable_line_may_not(change: dict[str, Any]) -> None:
    good: dict[str, Any] = {"rp_id": "hub.example", "origins": ["https://hub.example"]}
    with pytest.raises(ValidationError):
        PasskeysConfig.model_validate(good | change)
