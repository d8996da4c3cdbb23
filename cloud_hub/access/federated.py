"""Sign-in by the identity provider, joined to the hub's own accounts: who gets in, as what, and by which factor.

Nobody is taken for an account because of a name: the provider's issuer and subject are linked to it, by the mapping
that made the account or by an administrator.  What the mapping gives is looked up anew at each sign-in.
"""

import asyncio
import secrets
from dataclasses import dataclass, replace

from sqlalchemy import Connection
from telemed.roles import MACHINES

from cloud_hub.access import claims as said
from cloud_hub.access.claims import Claims, Granted
from cloud_hub.access.passwords import hash_password
from cloud_hub.access.provider import Answer, Provider, Question
from cloud_hub.access.seed import publish_everywhere
from cloud_hub.access.sign_in import Access, Opened
from cloud_hub.access.tickets import Tickets
from cloud_hub.access.tokens import digest
from cloud_hub.access.turns import Turns
from cloud_hub.config import OidcConfig
from cloud_hub.errors import IdentityUnknown, ProviderRefused, SecondFactorNeeded
from cloud_hub.store import accounts, identities, passkeys
from cloud_hub.store.accounts import Account, AuditEntry
from cloud_hub.store.identities import Identity

ASKED_S, HALF_WAY_S = 600, 300
"""How long a person may take at the provider, and then for the code of their own second factor."""
AT_ONCE = 4
"""Answers of one address asked about at the provider at the same time.  Nobody guesses a code of the provider that also
fits a question of this browser, so a refused one costs no wait."""
MAPPER = "identity-provider"
"""Who changed an account, in the audit trail, where the mapping did."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A person is sent to the provider."""

    address: str
    ticket: str
    """For a cookie of ASKED_S that only this browser has."""


@dataclass(frozen=True, slots=True)
class HalfWay:
    """The provider has spoken; the account's own second factor is still owed."""

    ticket: str
    """For a cookie of HALF_WAY_S."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The browser that asks."""

    address: str
    old_token: str = ""
    """Of the session that it had."""
    machine: str = ""
    """What it runs on, in words (`web.machine`)."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What came of looking an identity up; it is committed whether or not somebody gets in."""

    account: Account | None
    refusal: str = ""
    """Why not, for the audit trail."""
    sites: tuple[str, ...] = ()
    """Whose log has grown."""


class Federated:
    """Signs people in by the provider; one per hub process, because it gives out turns."""

    def __init__(self, access: Access, provider: Provider) -> None:
        self._access = access
        self._provider = provider
        self._turns = Turns(AT_ONCE)

    @property
    def config(self) -> OidcConfig:
        """Return what is configured of the provider."""
        return self._provider.config

    async def begin(self) -> Begun:
        """Return where to send a person, and the ticket that they come back with.

        Raises:
            ProviderAway, DestinationRefused: as `Provider.ask`.
        """
        question = await self._provider.ask()
        fields = {"state": question.state, "nonce": question.nonce, "verifier": question.verifier}
        return Begun(question.address, self._tickets.write("asked", fields, ASKED_S))

    async def finish(self, ticket: str, answer: Answer, caller: Caller) -> Opened | HalfWay:
        """Open a session for who came back, or say that their own second factor is owed.

        Raises:
            TooManyAttempts: too many answers from this address at once; nothing was looked at.
            ProviderRefused: the answer proves nothing.
            IdentityUnknown: proved, but nothing here is for them.
            ProviderAway, DestinationRefused: as `Provider.claims`.
        """
        asked = self._tickets.read("asked", ticket)
        if asked is None:
            # Not noted: any page can send a browser here.
            raise ProviderRefused("nobody in this browser asked, or too long ago")
        question = Question("", asked["state"], asked["nonce"], asked["verifier"])
        async with self._turns.turn(caller.address):
            try:
                claims = await self._provider.claims(question, answer)
                account = await self._admit(claims)
            except ProviderRefused:
                await self._access.note_refusal("", "", ProviderRefused.code)
                raise
        return await self._let_in(account, claims, caller)

    async def prove(self, ticket: str, code: str, caller: Caller) -> Opened:
        """Open the session of somebody half way through who has now proved their own second factor.

        Raises:
            ProviderRefused: no ticket, or too old.
            TooManyAttempts, SecondFactorNeeded, SecondFactorRefused: as `Access.second_factor`.
        """
        account, sid = await self.half_way(ticket)
        factor = await self._access.second_factor(account, code)
        return await self._access.open(account, factor, caller.old_token, self._origin(sid, caller))

    async def half_way(self, ticket: str) -> tuple[Account, str]:
        """Return who owes their own second factor, and their session at the provider.

        Raises:
            ProviderRefused: no ticket, or too old; or nobody who may sign in.
        """
        fields = self._tickets.read("half-way", ticket)
        account = await self._access.database.read(lambda c: accounts.account_of(c, (fields or {}).get("username", "")))
        if fields is None or account is None or account.disabled or account.role in MACHINES:
            raise ProviderRefused("sign in with the provider first")
        return account, fields["sid"]

    async def sign_out(self, token: str, back: str) -> str:
        """End a session; return where to end it at the provider too, empty where it did not begin there."""
        session = await self._access.database.read(lambda c: accounts.session_of(c, digest(token)))
        await self._access.sign_out(token)
        began_there = session is not None and session.extra.get("issuer") == self.config.issuer
        return await self._provider.end_session_address(back) if began_there else ""

    async def end(self, logout_token: str) -> int:
        """End the sessions of which the provider says that they have ended; return how many there were.

        Raises:
            ProviderRefused, ProviderAway, DestinationRefused: as `Provider.ended`.
        """
        ended = await self._provider.ended(logout_token)
        issuer = self.config.issuer

        def work(connection: Connection) -> int:
            found = identities.identity_of(connection, issuer, ended.subject) if ended.subject else None
            if ended.subject and found is None:
                return 0
            username = found.username if found else ""
            count = identities.end_sessions(connection, issuer, ended.sid, username)
            target = f"account/{username}" if username else "session"
            accounts.write_audit(connection, self._entry(MAPPER, "system", "provider-sign-out", target, "ok"))
            return count

        count = await self._access.database.write(work)
        self._access.forget()
        return count

    @property
    def _tickets(self) -> Tickets:
        return Tickets(self._access.second.seal, self._access.now_ns)

    async def _let_in(self, account: Account, claims: Claims, caller: Caller) -> Opened | HalfWay:
        config, access = self.config, self._access
        sid = str(claims.get("sid", ""))[:255]
        if said.is_strong(claims, config.second_factor_acr, config.second_factor_amr):
            return await access.open(account, "provider", caller.old_token, self._origin(sid, caller))
        try:
            factor = await access.second_factor(account, "")
        except SecondFactorNeeded:
            fields = {"username": account.username, "sid": sid}
            return HalfWay(self._tickets.write("half-way", fields, HALF_WAY_S))
        return await access.open(account, factor, caller.old_token, self._origin(sid, caller))

    def _origin(self, sid: str, caller: Caller) -> dict[str, str]:
        return {"issuer": self.config.issuer, "sid": sid, "machine": caller.machine}

    async def _admit(self, claims: Claims) -> Account:
        """Return the account of a proved identity, made or changed as the mapping says."""
        # An account that the mapping makes has a password that nobody knows, and is refused in the same time as others.
        nobody_knows = await asyncio.to_thread(hash_password, secrets.token_urlsafe(32))
        verdict = await self._access.database.write(lambda c: self._verdict(c, claims, nobody_knows))
        for site in verdict.sites:
            self._access.site_changed(site)
        self._access.forget()
        if verdict.account is None:
            raise IdentityUnknown("no account here")
        return verdict.account

    def _verdict(self, connection: Connection, claims: Claims, nobody_knows: str) -> _Verdict:
        granted = said.granted(claims, self.config.rules)
        known = identities.identity_of(connection, self.config.issuer, claims["sub"])
        if known is None:
            verdict = self._newcomer(connection, claims, granted, nobody_knows)
        else:
            verdict = self._known(connection, claims, granted, known)
            if verdict.account is not None:
                identities.hear(connection, known, self._access.now_ns())
        if verdict.account is None:
            name = known.username if known else said.username_of(claims, self.config.username_claim)
            entry = self._entry(name, "", "sign-in", f"account/{name}", verdict.refusal)
            accounts.write_audit(connection, entry)
        return verdict

    def _newcomer(self, connection: Connection, claims: Claims, granted: Granted | None, nobody_knows: str) -> _Verdict:
        name = said.username_of(claims, self.config.username_claim)
        if granted is None or not granted.creates_account or not name:
            return _Verdict(None, IdentityUnknown.code)
        if accounts.account_of(connection, name) is not None:
            return _Verdict(None, "identity-name-taken")
        person = said.name_of(claims, self.config.name_claim, name)
        account = Account(name, granted.role, person, person, granted.sites, nobody_knows)
        link = Identity(self.config.issuer, claims["sub"], name, is_mapped=True)
        identities.link(connection, link, self._access.now_ns())
        return _Verdict(account, sites=self._save(connection, account))

    def _known(self, connection: Connection, claims: Claims, granted: Granted | None, known: Identity) -> _Verdict:
        account = accounts.account_of(connection, known.username)
        if account is None or account.disabled:
            return _Verdict(None, "account-disabled")
        if account.role in MACHINES:
            return _Verdict(None, IdentityUnknown.code)
        if not known.is_mapped:
            return _Verdict(account)
        if granted is None:
            accounts.end_sessions_of(connection, account.username)
            passkeys.forget(connection, account.username)
            return _Verdict(None, IdentityUnknown.code)
        person = said.name_of(claims, self.config.name_claim, account.username)
        wanted = replace(account, role=granted.role, sites=granted.sites, name_zh=person, name_en=person)
        if wanted == account:
            return _Verdict(account)
        accounts.end_sessions_of(connection, account.username)
        return _Verdict(wanted, sites=self._save(connection, wanted))

    def _save(self, connection: Connection, account: Account) -> tuple[str, ...]:
        """Save an account, tell the sites, note it; return the sites whose log has grown."""
        now_ns, region = self._access.now_ns(), self._access.region
        accounts.save_account(connection, account, now_ns)
        entry = self._entry(MAPPER, "system", "account-set", f"account/{account.username}", "ok")
        accounts.write_audit(connection, entry)
        return tuple(publish_everywhere(connection, region, now_ns))

    def _entry(self, actor: str, role: str, action: str, target: str, result: str) -> AuditEntry:
        return AuditEntry(self._access.now_ns(), actor, role, action, target, result, self._access.region)


def make(config: OidcConfig | None, access: Access) -> Federated | None:
    """Return the sign-in by the configured provider; None where there is none.

    Raises:
        ConfigRefused: its secret or certificates cannot be read.
    """
    return None if config is None else Federated(access, Provider(config, access.now_ns))
