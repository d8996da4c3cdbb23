"""What a provider must not be believed: tokens that are nearly right, each wrong in one thing."""

import asyncio
import base64
import contextlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from joserfc.jws import JWSRegistry

from cloud_hub import server
from cloud_hub.access.provider import LOGOUT_EVENT, Answer, Ended, Provider, Question
from cloud_hub.config import OidcConfig, WebConfig
from cloud_hub.errors import DestinationRefused, ProviderAway, ProviderRefused
from tests.cloud_hub.access.conftest import Clock
from tests.fakes.ports import free_port

pytestmark = pytest.mark.anyio
SECRET = "a-secret-that-both-sides-have-0001"
QUESTION = Question("", "state", "nonce", "verifier" * 8)
ANSWER = Answer("code", "state")


class Liar:
    """A provider that says whatever a test wants."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.issuer = f"http://127.0.0.1:{port}"
        self.key = ECKey.generate_key("P-256", {"kid": "k", "alg": "ES256"}, private=True)
        self.metadata: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/me",
        }
        self.told: dict[str, Any] = {}
        self.keys: Any = {"keys": [self.key.as_dict(private=False)]}
        self.id_token = ""

    def claims(self, **change: Any) -> dict[str, Any]:
        """Good ones but for the change; None takes one away."""
        now = int(time.time())
        good = {"iss": self.issuer, "aud": "hub", "sub": "s-1", "iat": now, "exp": now + 300, "nonce": "nonce"}
        return {name: value for name, value in (good | change).items() if value is not None}

    def sign(self, claims: dict[str, Any], key: Any = None, **header: str) -> str:
        registry = JWSRegistry(algorithms=list(JWSRegistry.algorithms))
        return jwt.encode({"alg": "ES256", "kid": "k"} | header, claims, key or self.key, registry=registry)

    def app(self) -> FastAPI:
        app = FastAPI()
        app.get("/.well-known/openid-configuration")(lambda: self.metadata)
        app.get("/jwks")(lambda: self.keys)
        app.get("/me")(lambda: self.told)
        app.post("/token")(lambda: {"access_token": "a", "token_type": "Bearer", "id_token": self.id_token})
        return app


@contextlib.asynccontextmanager
async def listening(liar: Liar) -> AsyncIterator[None]:
    serving, listener = server.make(liar.app()), server.listen(WebConfig(port=liar.port))
    task = asyncio.create_task(serving.serve(sockets=[listener]))
    try:
        yield
    finally:
        serving.stop()
        await task
        listener.close()


@pytest.fixture
async def liar() -> AsyncIterator[Liar]:
    found = Liar(free_port())
    async with listening(found):
        yield found


def provider(liar: Liar, clock: Clock | None = None, **more: Any) -> Provider:
    wanted: dict[str, Any] = {
        "issuer": liar.issuer,
        "client_id": "hub",
        "redirect_uri": "http://127.0.0.1:1/api/v1/oidc/callback",
        "name_zh": "认证",
        "name_en": "Provider",
        "private_network": True,
    }
    return Provider(OidcConfig.model_validate(wanted | more), clock or Clock(time.time_ns()))


async def test_a_good_token_says_who_it_is(liar: Liar) -> None:
    liar.id_token = liar.sign(liar.claims())
    assert (await provider(liar).claims(QUESTION, ANSWER))["sub"] == "s-1"


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "another"},
        {"aud": "another", "azp": "hub"},
        {"aud": ["hub", "another"]},
        {"aud": ["hub"], "azp": "another"},
        {"aud": None},
        {"iss": "http://127.0.0.1:1"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"sub": "s" * 256},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"iat": None},
        {"iat": 4_000_000_000},
        {"nbf": 4_000_000_000},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    ],
)
async def test_a_token_that_is_not_for_this_hub_now_is_refused(liar: Liar, change: dict[str, Any]) -> None:
    liar.id_token = liar.sign(liar.claims(**change))
    with pytest.raises(ProviderRefused):
        await provider(liar).claims(QUESTION, ANSWER)


async def test_only_signatures_by_the_providers_keys_count(liar: Liar) -> None:
    shared = OctKey.import_key(SECRET, {"kid": "shared"})
    other = ECKey.generate_key("P-256", {"kid": "k", "alg": "ES256"}, private=True)
    liar.keys["keys"].append(shared.as_dict())
    body = liar.sign(liar.claims()).split(".")[1]
    confused = f"{_packed({'alg': 'HS256', 'kid': 'k'})}.{body}"
    by_public_key = hmac.digest(liar.key.as_pem(private=False), confused.encode(), "sha256")
    for token in (
        liar.sign(liar.claims(), shared, alg="HS256", kid="shared"),
        f"{confused}.{base64.urlsafe_b64encode(by_public_key).decode().rstrip('=')}",
        liar.sign(liar.claims(), other),
        f"{_packed({'alg': 'none'})}.{body}.",
        "",
        "x.y.z",
    ):
        liar.id_token = token
        with pytest.raises(ProviderRefused):
            await provider(liar).claims(QUESTION, ANSWER)


def _packed(header: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")


async def test_a_provider_that_calls_itself_otherwise_is_not_believed(liar: Liar) -> None:
    liar.metadata["issuer"] += "/"
    with pytest.raises(ProviderAway):
        await provider(liar).ask()


@pytest.mark.parametrize(
    "change",
    [{"token_endpoint": None}, {"jwks_uri": 5}, {"authorization_endpoint": ["http://127.0.0.1"]}],
)
async def test_a_provider_that_does_not_say_where_to_ask_is_away(liar: Liar, change: dict[str, Any]) -> None:
    liar.metadata |= change
    with pytest.raises(ProviderAway):
        await provider(liar).ask()


async def test_addresses_elsewhere_are_refused_unless_configured(liar: Liar) -> None:
    liar.metadata["token_endpoint"] = "http://127.0.0.2:9/token"
    with pytest.raises(DestinationRefused):
        await provider(liar).ask()
    assert (await provider(liar, other_origins=["http://127.0.0.2:9"]).ask()).state


@pytest.mark.parametrize("keys", [{}, {"keys": {}}, {"keys": [{"kty": "none"}]}, []])
async def test_keys_that_cannot_be_read_let_nobody_in(liar: Liar, keys: Any) -> None:
    liar.id_token, liar.keys = liar.sign(liar.claims()), keys
    with pytest.raises((ProviderAway, ProviderRefused)):
        await provider(liar).claims(QUESTION, ANSWER)


async def test_userinfo_adds_claims_of_the_same_person_alone(liar: Liar) -> None:
    liar.id_token = liar.sign(liar.claims(groups=["mine"]))
    liar.told = {"sub": "s-1", "groups": ["other"], "name": "N"}
    found = await provider(liar, userinfo=True).claims(QUESTION, ANSWER)
    assert (found["groups"], found["name"]) == (["mine"], "N")
    liar.told = {"sub": "s-2"}
    with pytest.raises(ProviderRefused):
        await provider(liar, userinfo=True).claims(QUESTION, ANSWER)


async def test_only_a_logout_token_ends_sessions(liar: Liar) -> None:
    event: dict[str, Any] = {"events": {LOGOUT_EVENT: {}}, "nonce": None, "jti": "j"}
    found = await provider(liar).ended(liar.sign(liar.claims(**event, sid="a")))
    assert found == Ended("s-1", "a")
    changes: tuple[dict[str, Any], ...] = (
        {"events": {}},
        {"events": None},
        {"nonce": "nonce"},
        {"sub": None},
        {"aud": "another"},
        {"iss": "http://127.0.0.1:1"},
        {"exp": 1_700_000_000},
    )
    for change in changes:
        with pytest.raises(ProviderRefused):
            await provider(liar).ended(liar.sign(liar.claims(**(event | change))))


async def test_a_strength_is_asked_for_where_that_is_configured(liar: Liar) -> None:
    assert "acr_values" not in (await provider(liar).ask()).address
    assert "acr_values=two+three" in (await provider(liar, ask_acr=["two", "three"]).ask()).address


async def test_one_that_did_not_answer_is_left_alone_for_two_seconds() -> None:
    clock, liar = Clock(time.time_ns()), Liar(free_port())
    asking = provider(liar, clock)
    with pytest.raises(ProviderAway):
        await asking.ask()
    async with listening(liar):
        with pytest.raises(ProviderAway):
            await asking.ask()
        clock.pass_s(2)
        assert (await asking.ask()).state
