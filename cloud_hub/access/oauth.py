"""OAuth 2 for programs (client credentials) and for people in other programs (authorization code with PKCE).

RFC 6749, RFC 7636 (S256 alone), RFC 8252 (loopback redirects on any port).  There is no password grant, and
no refresh token in this form.  Tokens live one hour, codes one minute and once; only their hashes are kept.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import Connection
from telemed.roles import MACHINES, Role

from cloud_hub.access.rights import parse_scope
from cloud_hub.access.sign_in import NS_PER_S, Access
from cloud_hub.access.tokens import digest, new_token
from cloud_hub.errors import HubError
from cloud_hub.store import accounts
from cloud_hub.store.accounts import Account, AuditEntry, Session

TOKEN_S, CODE_S = 3600, 60
PEOPLES_DEFAULT_SCOPES = ("user/*.rs",)
"""What a person hands on where the program names no scope."""
_PEOPLES_SCOPES = (*PEOPLES_DEFAULT_SCOPES, "user/AuditEvent.rs", "user/Consent.rs")
"""What a person may hand on: `*` does not cover what is opened by name alone."""
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
LOOPBACKS = ("127.0.0.1", "[::1]", "localhost")


class OAuthRefused(HubError):
    """A grant was refused; `error` is the word of RFC 6749 5.2."""

    code = "oauth-refused"

    def __init__(self, error: str, text: str) -> None:
        super().__init__(text)
        self.error = error


@dataclass(frozen=True, slots=True)
class Grant:
    """A token just made."""

    access_token: str
    expires_in_s: int
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CodeRequest:
    """What a program asks for when it sends a person here."""

    client_id: str
    redirect_uri: str
    challenge: str
    scope: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a person typed on our page."""

    username: str
    password: str
    code: str = ""
    """Of the second factor."""


def told(request: CodeRequest) -> str:
    """Return all that a program asks for as one text, to which a key's answer is bound."""
    return json.dumps([request.client_id, request.redirect_uri, request.challenge, request.scope, request.state])


class OAuth:
    """The grants; one per hub process, beside `Access`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def for_program(self, client_id: str, secret: str, scope: str, address: str) -> Grant:
        """Return a token for a program that proved its secret.

        Raises:
            TooManyAttempts, SignInRefused: id or secret wrong.
            OAuthRefused: not a program, or a scope it does not have.
        """
        account = await self._access.authenticate(client_id, secret, address)
        if account.role is not Role.PROGRAM:
            raise OAuthRefused("unauthorized_client", "people sign in with a code")
        scopes = narrowed(scope, account.scopes)
        return await self._issue(account, scopes)

    async def check_request(self, request: CodeRequest) -> Account:
        """Return the program that sends a person here.

        Raises:
            OAuthRefused: unknown program or redirect (`invalid_client`: must not be sent back there), no S256
                challenge (`invalid_request`), or a scope nobody has (`invalid_scope`).
        """
        client = await self._access.database.read(lambda c: accounts.account_of(c, request.client_id))
        if client is None or client.disabled or client.role is not Role.PROGRAM:
            raise OAuthRefused("invalid_client", "unknown program")
        if not any(is_same_redirect(request.redirect_uri, known) for known in client.redirects):
            raise OAuthRefused("invalid_client", "this redirect is not registered")
        if not _CHALLENGE.fullmatch(request.challenge):
            raise OAuthRefused("invalid_request", "a code_challenge with S256 is needed")
        _of_a_person(request.scope)
        return client

    async def give_code(self, request: CodeRequest, proof: Proof, address: str) -> str:
        """Return a code for a person who signed in on our page.

        Raises:
            OAuthRefused: as `check_request`, the account is a program's, or it lacks the second factor it needs.
            TooManyAttempts, SignInRefused: name or password wrong, or the second factor.
        """
        client = await self.check_request(request)
        account = await self._access.authenticate(proof.username, proof.password, address)
        if account.role in MACHINES:
            raise OAuthRefused("access_denied", "programs use their own grant")
        factor = await self._access.second_factor(account, proof.code)
        if not factor and account.role in self._access.second.roles:
            raise OAuthRefused("access_denied", "a second factor must be set up on the hub's own page first")
        return await self._code(request, client, account, {"factor": factor} if factor else {})

    async def give_code_by_key(self, request: CodeRequest, account: Account) -> str:
        """Return a code for a person whose key has let in this very request (`Passkeys.let_in`).

        Raises:
            OAuthRefused: as `check_request`.
        """
        client = await self.check_request(request)
        return await self._code(request, client, account, {"factor": "passkey", "by": "passkey"})

    async def _code(self, request: CodeRequest, client: Account, account: Account, proved: Mapping[str, str]) -> str:
        code, now = new_token(), self._access.now_ns()
        session = Session(
            digest(code),
            "code",
            account.username,
            now,
            now,
            now + CODE_S * NS_PER_S,
            scopes=_of_a_person(request.scope),
            extra={"client": client.username, "redirect": request.redirect_uri, "challenge": request.challenge}
            | dict(proved),
        )

        def work(connection: Connection) -> None:
            accounts.open_session(connection, session)
            accounts.write_audit(connection, self._entry(account, "code-issued", client.username))

        await self._access.database.write(work)
        return code

    async def exchange(self, code: str, client_id: str, redirect_uri: str, verifier: str) -> Grant:
        """Return a token for a code; the code is spent whether or not it fits, and a second use ends its token.

        Raises:
            OAuthRefused: `invalid_grant`: unknown, spent, expired, or made for another program, redirect or verifier.
        """
        hashed = digest(code)

        def work(connection: Connection) -> Grant | str:
            session = accounts.session_of(connection, hashed)
            if session is None or session.kind != "code" or not accounts.end_session(connection, hashed):
                # Somebody else has it too (RFC 6749 4.1.2), and which of both was the right one nobody can tell.
                return "reused" if self._end_tokens_of(connection, hashed) else "unknown or spent code"
            account = accounts.account_of(connection, session.username)
            if account is None or account.disabled or session.expires_ns <= self._access.now_ns():
                return "expired code"
            same = session.extra["client"] == client_id and session.extra["redirect"] == redirect_uri
            if not same or not is_verified(verifier, session.extra["challenge"]):
                return "the code was made for another program, redirect or verifier"
            proved = {"code": hashed}
            proved |= {name: kept for name, kept in session.extra.items() if name in ("client", "factor", "by")}
            return self._grant(connection, account, session.scopes, proved)

        # Committed also where nothing is granted: a code is spent by its first use.
        found = await self._access.database.write(work)
        if isinstance(found, Grant):
            return found
        if found == "reused":
            self._access.forget()
        raise OAuthRefused("invalid_grant", found)

    async def _issue(self, account: Account, scopes: tuple[str, ...]) -> Grant:
        return await self._access.database.write(lambda c: self._grant(c, account, scopes, {}))

    def _grant(
        self, connection: Connection, account: Account, scopes: tuple[str, ...], proved: Mapping[str, str]
    ) -> Grant:
        token, now = new_token(), self._access.now_ns()
        ends = now + TOKEN_S * NS_PER_S
        session = Session(digest(token), "bearer", account.username, now, now, ends, scopes=scopes, extra=dict(proved))
        accounts.open_session(connection, session)
        accounts.write_audit(connection, self._entry(account, "token-issued", " ".join(scopes)))
        return Grant(token, TOKEN_S, scopes)

    def _end_tokens_of(self, connection: Connection, code_hash: str) -> bool:
        """End the tokens that a code was exchanged for; True where there were any."""
        now_ns, region = self._access.now_ns(), self._access.region
        ended = accounts.end_tokens_of(connection, code_hash)
        for username in ended:
            entry = AuditEntry(now_ns, username, "", "token-ended", f"account/{username}", "code-reused", region)
            accounts.write_audit(connection, entry)
        return bool(ended)

    def _entry(self, account: Account, action: str, target: str) -> AuditEntry:
        now, region = self._access.now_ns(), self._access.region
        return AuditEntry(now, account.username, account.role, action, target, "ok", region)


def narrowed(asked: str, held: Sequence[str]) -> tuple[str, ...]:
    """Return the scopes asked for, all of those held where none is asked for.

    Raises:
        OAuthRefused: `invalid_scope`: one is unreadable or not covered by what is held.
    """
    if not asked.strip():
        return tuple(held)
    try:
        wanted = [parse_scope(text) for text in dict.fromkeys(asked.split())]
    except ValueError as error:
        raise OAuthRefused("invalid_scope", str(error)) from error
    having = [parse_scope(text) for text in held]
    if not all(any(one.covers(scope) for one in having) for scope in wanted):
        raise OAuthRefused("invalid_scope", "more than this account may have")
    return tuple(dict.fromkeys(asked.split()))


def _of_a_person(asked: str) -> tuple[str, ...]:
    return narrowed(asked, _PEOPLES_SCOPES) if asked.strip() else PEOPLES_DEFAULT_SCOPES


def is_verified(verifier: str, challenge: str) -> bool:
    """True where the verifier belongs to the S256 challenge (RFC 7636 4.6)."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    hashed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(hashed, challenge.encode())


def is_same_redirect(asked: str, registered: str) -> bool:
    """True where the redirect is exactly the registered one; on loopback the port is free (RFC 8252 7.3)."""
    if asked == registered:
        return True
    try:
        one, other = urlsplit(asked), urlsplit(registered)
        ports = (one.port, other.port)
    except ValueError:
        return False
    host = other.netloc.rsplit(":", 1)[0] if ports[1] is not None else other.netloc
    if other.scheme != "http" or host not in LOOPBACKS or one.scheme != "http" or one.fragment or ports[0] is None:
        return False
    return one.netloc == f"{host}:{ports[0]}" and (one.path, one.query) == (other.path, other.query)
