"""Talks to the identity provider (OpenID Connect, Authlib): what it is, where to send people, what came back.

Every question has one short time limit and goes to allowed destinations alone; nothing here blocks the event loop,
and a provider that is away raises and changes nothing.
"""

import asyncio
import hmac
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.claims import JWTClaims
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from cloud_hub.access.destinations import Allowed, AllowedTransport, check_origin
from cloud_hub.access.tokens import new_token
from cloud_hub.config import OidcConfig
from cloud_hub.errors import ConfigRefused, DestinationRefused, ProviderAway, ProviderRefused

T = TypeVar("T")
NS_PER_S = 1_000_000_000
ALGORITHMS = ("RS256", "PS256", "ES256", "RS384", "ES384", "RS512", "ES512", "EdDSA", "Ed25519")
"""Signatures that count; never `none`, and never one made with the secret that both sides have."""
KNOWN_FOR_S, KEYS_KNOWN_FOR_S = 60, 300
"""How long what the provider says of itself, and its keys, are kept for those who come back."""
KEYS_AGAIN_S = 10
"""A key that is not known makes the hub ask for the keys again, at most this often."""
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
LONGEST_SUBJECT = 255
AWAY_S = 2
"""How long a provider that did not answer is not asked again: many who try at once cost one wait."""
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint")


@dataclass(frozen=True, slots=True)
class Question:
    """Where a person is sent, and what must fit when they come back."""

    address: str
    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the browser brought back."""

    code: str
    state: str
    issuer: str = ""
    """`iss` of RFC 9207; empty where none was sent."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """Whose sessions the provider says have ended."""

    subject: str
    sid: str
    """One session of the provider; empty for all of the subject."""


class Provider:
    """The one provider that is configured; one per hub process, all methods on the event loop."""

    def __init__(self, config: OidcConfig, now_ns: Callable[[], int]) -> None:
        """Read the secret; ask nobody yet.

        Raises:
            ConfigRefused: the secret or the certificates cannot be read.
        """
        self.config = config
        self._now_ns = now_ns
        self._secret = _secret(config)
        origins = frozenset({config.issuer, *config.other_origins})
        self._allowed = Allowed(origins, config.private_network, _context(config))
        self._metadata: dict[str, Any] = {}
        self._metadata_ns = 0
        self._away_ns = 0
        self._keys: KeySet | None = None
        self._keys_ns = 0

    async def ask(self) -> Question:
        """Return where to send a person.

        Raises:
            ProviderAway: it does not answer, or not with what it should.
            DestinationRefused: it names addresses that are not allowed.
        """
        state, nonce, verifier = new_token(), new_token(), new_token()
        more = {"acr_values": " ".join(self.config.ask_acr)} if self.config.ask_acr else {}

        async def work(client: AsyncOAuth2Client) -> str:
            # Asked afresh each time: nobody is sent to a provider that has gone.
            self._metadata = {}
            at = (await self._known(client))["authorization_endpoint"]
            return str(client.create_authorization_url(at, state, verifier, nonce=nonce, **more)[0])

        return Question(await self._talk(work), state, nonce, verifier)

    async def claims(self, question: Question, answer: Answer) -> Mapping[str, Any]:
        """Return what the provider says of the person who came back, all of it proved.

        Raises:
            ProviderRefused: declined, of another question or provider, or not what it claims to be.
            ProviderAway, DestinationRefused: as `ask`.
        """
        if not hmac.compare_digest(answer.state.encode(), question.state.encode()):
            raise ProviderRefused("an answer to another question")
        if answer.error or not answer.code:
            raise ProviderRefused("the provider sent no code")
        return await self._talk(lambda client: self._exchange(client, question, answer))

    async def ended(self, logout_token: str) -> Ended:
        """Return whose sessions a logout token ends (OpenID Connect Back-Channel Logout 1.0, section 2.6).

        Raises:
            ProviderRefused: it is none of this provider's, or not for this hub.
            ProviderAway, DestinationRefused: as `ask`.
        """

        async def work(client: AsyncOAuth2Client) -> dict[str, Any]:
            claims, header = await self._signed(client, await self._known(client), logout_token)
            self._judge(JWTClaims(claims, header, self._wanted()))
            return claims

        claims = await self._talk(work)
        subject, sid = claims.get("sub", ""), claims.get("sid", "")
        is_logout = isinstance(claims.get("events"), dict) and LOGOUT_EVENT in claims["events"]
        if not is_logout or "nonce" in claims or not (subject or sid):
            raise ProviderRefused("no logout token")
        return Ended(str(subject), str(sid))

    async def end_session_address(self, back: str) -> str:
        """Return where a person ends their session at the provider; empty where it has no such place or is away."""
        try:
            found = str((await self._talk(self._known)).get("end_session_endpoint", ""))
        except (ProviderAway, DestinationRefused):
            return ""
        asked = httpx2.QueryParams({"client_id": self.config.client_id, "post_logout_redirect_uri": back})
        return f"{found}?{asked}" if found else ""

    async def _talk(self, work: Callable[[AsyncOAuth2Client], Awaitable[T]]) -> T:
        """Have `work` ask what it needs, within the time limit; foreign failures become ours."""
        config = self.config
        if self._now_ns() - self._away_ns < AWAY_S * NS_PER_S:
            raise ProviderAway("the identity provider did not answer just now")
        client = AsyncOAuth2Client(
            config.client_id,
            self._secret,
            scope=" ".join(config.scopes),
            redirect_uri=config.redirect_uri,
            code_challenge_method="S256",
            transport=AllowedTransport(self._allowed),
            trust_env=False,
            timeout=config.timeout_s,
        )
        try:
            async with client, asyncio.timeout(config.timeout_s):
                return await work(client)
        except (TimeoutError, httpx2.HTTPError) as error:
            self._away_ns = self._now_ns()
            self._metadata = {}
            raise ProviderAway(f"the identity provider does not answer ({type(error).__name__})") from error
        except (AuthlibBaseError, JoseError, ValueError) as error:
            raise ProviderRefused(f"the identity provider's answer is refused ({type(error).__name__})") from error

    async def _exchange(self, client: AsyncOAuth2Client, question: Question, answer: Answer) -> Mapping[str, Any]:
        metadata = await self._known(client)
        must_name_itself = metadata.get("authorization_response_iss_parameter_supported") is True
        if (answer.issuer or must_name_itself) and answer.issuer != self.config.issuer:
            raise ProviderRefused("an answer of another provider")
        token = await client.fetch_token(
            metadata["token_endpoint"],
            grant_type="authorization_code",
            code=answer.code,
            code_verifier=question.verifier,
            redirect_uri=self.config.redirect_uri,
        )
        claims = await self._identity(client, metadata, token, question.nonce)
        if not self.config.userinfo or "userinfo_endpoint" not in metadata:
            return claims
        told = await self._json(client, metadata["userinfo_endpoint"], token["access_token"])
        if told.get("sub") != claims["sub"]:
            raise ProviderRefused("userinfo of somebody else")
        return {**told, **claims}

    async def _known(self, client: AsyncOAuth2Client) -> dict[str, Any]:
        """Return what the provider says of itself, asked anew after a minute."""
        if self._metadata and self._now_ns() - self._metadata_ns < KNOWN_FOR_S * NS_PER_S:
            return self._metadata
        address = self.config.issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = await self._json(client, address)
        if found.get("issuer") != self.config.issuer:
            raise ProviderAway("the provider calls itself by another name than configured")
        named = {name: found[name] for name in _ENDPOINTS if name in found}
        if not all(isinstance(one, str) for one in named.values()) or not {*_ENDPOINTS[:3]} <= set(named):
            raise ProviderAway("the provider does not say where to ask")
        for one in named.values():
            check_origin(one, self._allowed.origins)
        self._metadata, self._metadata_ns = found, self._now_ns()
        return found

    async def _identity(
        self, client: AsyncOAuth2Client, metadata: dict[str, Any], token: Mapping[str, Any], nonce: str
    ) -> dict[str, Any]:
        claims, header = await self._signed(client, metadata, str(token.get("id_token", "")))
        params = {"nonce": nonce, "client_id": self.config.client_id, "access_token": token.get("access_token")}
        self._judge(CodeIDToken(claims, header, self._wanted(), params))
        if not 0 < len(claims["sub"]) <= LONGEST_SUBJECT:
            raise ProviderRefused("an identity without a name")
        return claims

    def _wanted(self) -> dict[str, Any]:
        return {
            "iss": {"essential": True, "value": self.config.issuer},
            "aud": {"essential": True, "value": self.config.client_id},
            "iat": {"essential": True},
        }

    def _judge(self, claims: JWTClaims) -> None:
        claims.validate(now=self._now_ns() // NS_PER_S, leeway=self.config.clock_skew_s)

    async def _signed(
        self, client: AsyncOAuth2Client, metadata: dict[str, Any], token: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return claims and head of a token that the provider signed; a key that is new is asked for."""
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        try:
            found = jwt.decode(token, await self._key_set(client, metadata), registry=registry)
        except InvalidKeyIdError:
            if self._now_ns() - self._keys_ns < KEYS_AGAIN_S * NS_PER_S:
                raise
            self._keys = None
            found = jwt.decode(token, await self._key_set(client, metadata), registry=registry)
        return dict(found.claims), dict(found.header)

    async def _key_set(self, client: AsyncOAuth2Client, metadata: dict[str, Any]) -> KeySet:
        if self._keys is None or self._now_ns() - self._keys_ns > KEYS_KNOWN_FOR_S * NS_PER_S:
            told: Any = await self._json(client, metadata["jwks_uri"])
            try:
                self._keys = KeySet.import_key_set(told)
            except (KeyError, TypeError, ValueError) as error:
                raise ProviderAway("the provider's keys cannot be read") from error
            self._keys_ns = self._now_ns()
        return self._keys

    async def _json(self, client: AsyncOAuth2Client, address: str, access_token: str = "") -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        headers |= {"Authorization": f"Bearer {access_token}"} if access_token else {}
        answer = await client.request("GET", address, withhold_token=True, auth=None, headers=headers)
        if answer.status_code != 200:
            raise ProviderAway(f"the identity provider answers {answer.status_code}")
        try:
            found = answer.json()
        except ValueError as error:
            raise ProviderAway("the identity provider's answer cannot be read") from error
        if not isinstance(found, dict):
            raise ProviderAway("the identity provider's answer cannot be read")
        return found


def _secret(config: OidcConfig) -> str | None:
    if config.client_secret_file is None:
        return None
    try:
        return config.client_secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigRefused(f"oidc.client_secret_file: {config.client_secret_file} cannot be read") from error


def _context(config: OidcConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=config.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigRefused(f"oidc.ca_file: {config.ca_file} cannot be used") from error
