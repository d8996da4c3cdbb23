"""What a provider's claims give: nothing that no line names."""

from typing import Any

import pytest
from pydantic import ValidationError
from telemed.roles import Role

from cloud_hub.access.claims import Granted, granted, is_strong, name_of, username_of, values
from cloud_hub.config import OidcConfig, OidcRule

RULES = [
    OidcRule(claim="groups", value="east", role=Role.CLINIC, sites=["east"]),
    OidcRule(claim="groups", value="west", role=Role.CLINIC, sites=["west"], creates_account=True),
    OidcRule(claim="groups", value="tele", role=Role.PHYSICIAN),
    OidcRule(claim="realm_access.roles", value="keeper", role=Role.OPERATOR),
]


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, None),
        ({"groups": []}, None),
        ({"groups": "north"}, None),
        ({"groups": "east and west"}, None),
        ({"groups": {"east": True}}, None),
        ({"groups": [["east"], 1, None]}, None),
        ({"groups": "east"}, Granted(Role.CLINIC, ("east",), False)),
        ({"groups": ["west", "east"]}, Granted(Role.CLINIC, ("east", "west"), True)),
        ({"groups": ["tele", "west"]}, Granted(Role.CLINIC, ("west",), True)),
        ({"groups": ["tele"]}, Granted(Role.PHYSICIAN, (), False)),
        ({"realm_access": {"roles": ["keeper"]}}, Granted(Role.OPERATOR, (), False)),
        ({"realm_access": "keeper"}, None),
    ],
)
def test_the_first_line_that_fits_says_the_role_and_others_of_it_add_sites(
    claims: dict[str, Any], expected: Granted | None
) -> None:
    assert granted(claims, RULES) == expected


def test_a_claim_whose_own_name_has_dots_is_found_before_the_path() -> None:
    assert values({"https://x.y/roles": ["a"], "https://x": {"y/roles": "b"}}, "https://x.y/roles") == {"a"}


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, False),
        ({"amr": ["pwd"], "acr": "0"}, False),
        ({"amr": ["pwd", "mfa"]}, True),
        ({"acr": "two"}, True),
        ({"acr": ["two", "three"]}, True),
        ({"amr": 5}, False),
    ],
)
def test_a_second_factor_counts_only_in_the_words_of_the_configuration(claims: dict[str, Any], expected: bool) -> None:
    assert is_strong(claims, ["two"], ["mfa"]) is expected
    assert not is_strong(claims, [], [])


@pytest.mark.parametrize("bad", [None, 5, "", " x", "x" * 65, "a b", "a/b", "a\0", "名", "-x", ["x"], "seed"])
def test_a_claim_that_could_be_no_account_gives_no_name(bad: object) -> None:
    assert username_of({"preferred_username": bad}, "preferred_username") == ""


def test_a_name_is_one_bounded_line_of_what_can_be_read() -> None:
    assert name_of({"name": " 杜\n仲 \x07 "}, "name", "x") == "杜 仲 "
    assert name_of({"name": "a" * 200}, "name", "x") == "a" * 80
    assert name_of({"name": 3}, "name", "x") == name_of({}, "name", "x") == "x"


@pytest.mark.parametrize(("role", "sites"), [("program", []), ("display", ["a"]), ("clinic", [])])
def test_a_line_that_gives_what_no_person_can_have_is_refused(role: str, sites: list[str]) -> None:
    with pytest.raises(ValidationError):
        OidcRule.model_validate({"claim": "g", "value": "x", "role": role, "sites": sites})


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "http://idp.example"},
        {"issuer": "ftp://idp.example"},
        {"redirect_uri": "https://hub.example/elsewhere"},
        {"redirect_uri": "https://hub.example/api/v1/oidc/callback?x=1"},
        {"scopes": ["profile"]},
        {"other_origins": ["http://10.0.0.1"]},
    ],
)
def test_a_configuration_that_would_send_people_over_a_readable_line_or_elsewhere_is_refused(
    change: dict[str, Any],
) -> None:
    good = {
        "issuer": "https://idp.example",
        "client_id": "hub",
        "redirect_uri": "https://hub.example/api/v1/oidc/callback",
        "name_zh": "认证",
        "name_en": "IdP",
    }
    OidcConfig.model_validate(good)
    with pytest.raises(ValidationError):
        OidcConfig.model_validate(good | change)
