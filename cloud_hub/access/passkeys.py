"""Passkeys and security keys (WebAuthn, py_webauthn): adding one, signing in with one, proving the second factor.

Without a password the key itself must have verified its person (PIN or finger).  Beside a password it must for roles
that need a second factor.  Challenges lie sealed in the browser's cookie and count once.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import webauthn
from sqlalchemy import Connection
from telemed.roles import MACHINES
from webauthn.authentication.verify_authentication_response import VerifiedAuthentication
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, parse_authentication_credential_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)
from webauthn.registration.verify_registration_response import VerifiedRegistration

from cloud_hub.access import factors
from cloud_hub.access.rights import Principal
from cloud_hub.access.sign_in import NS_PER_S, Access, Opened
from cloud_hub.access.tickets import Tickets
from cloud_hub.access.tokens import digest
from cloud_hub.access.turns import Turns
from cloud_hub.config import PasskeysConfig
from cloud_hub.errors import NotFound, PasskeyRefused, StepRefused
from cloud_hub.store import accounts, identities, passkeys
from cloud_hub.store.accounts import Account, Session
from cloud_hub.store.passkeys import Passkey

ASKED_S = 120
"""How long a key may take; a challenge that was answered is remembered as long."""
HEARD_S = 7 * 86_400
"""How long a key opens an account that an identity provider grants without that provider vouching for it again."""
KEYS_LIMIT = 10
"""Keys of one account."""
AT_ONCE = 4
"""Answers of one address looked at at the same time.  Nobody guesses a signature, so a refused one costs no wait."""
CHALLENGE_BYTES = HANDLE_BYTES = 32
NAME = "Yuanzhen 远诊"
_FOREIGN = (WebAuthnException, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)
"""What the library raises over bytes that are not what they should be."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to a key."""

    options: str
    """Of WebAuthn, JSON text for the browser."""
    ticket: str
    """For a cookie of ASKED_S that only this browser has."""


class Passkeys:
    """All about keys; one per hub process, because it gives out turns."""

    def __init__(self, access: Access, config: PasskeysConfig) -> None:
        self._access = access
        self._config = config
        self._turns = Turns(AT_ONCE)

    async def listed(self, who: Principal) -> list[Passkey]:
        """Return one's own keys, oldest first."""
        return await self._access.database.read(lambda c: passkeys.of_account(c, who.username))

    async def begin_adding(self, who: Principal, token: str) -> Asked:
        """Ask for a new key.

        Raises:
            SignInAgain: signed in too long ago.
            StepRefused: there are as many as may be.
        """
        _, known = await self._access.database.read(lambda c: self._own(c, who, token))
        handle = known[0].user_handle if known else secrets.token_bytes(HANDLE_BYTES)
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        options = webauthn.generate_registration_options(
            rp_id=self._config.rp_id,
            rp_name=NAME,
            user_id=handle,
            user_name=who.username,
            user_display_name=who.name_zh,
            challenge=challenge,
            timeout=ASKED_S * 1000,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED, user_verification=self._verification(who.role)
            ),
            exclude_credentials=_described(known),
        )
        fields = {"username": who.username, "handle": bytes_to_base64url(handle)}
        return Asked(webauthn.options_to_json(options), self._ticket("passkey-add", challenge, fields))

    async def add(self, who: Principal, token: str, ticket: str, name: str, credential: str) -> tuple[Passkey, Opened]:
        """Take a new key into use; the session is replaced by one that has the second factor.

        Raises:
            PasskeyRefused: what the key answered proves nothing.
            SignInAgain, StepRefused: as `begin_adding`; also where the key is known already.
        """
        asked = self._asked("passkey-add", ticket)
        if asked["username"] != who.username:
            raise PasskeyRefused("asked for somebody else")
        verified = self._registered(credential, asked["challenge"], who)
        now_ns = self._access.now_ns()
        made = Passkey(
            username=who.username,
            credential_id=verified.credential_id,
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
            user_handle=base64url_to_bytes(asked["handle"]),
            name=name,
            transports=(),
            made_ns=now_ns,
        )

        def work(connection: Connection) -> Opened:
            session, _ = self._own(connection, who, token)
            account = accounts.account_of(connection, who.username)
            if account is None or not passkeys.add(connection, made):
                raise StepRefused("this key is known already", [])
            factors.audit(connection, who, "passkey-added", now_ns)
            return self._access.go_on(connection, account, session, {"factor": "passkey"})

        opened = await self._access.database.write(work)
        self._access.forget()
        return made, opened

    async def remove(self, who: Principal, token: str, which: str) -> None:
        """Take one of one's own keys away and end all sessions of the account.

        Raises:
            SignInAgain: signed in too long ago.
            NotFound: no such key of one's own.
        """

        def work(connection: Connection) -> None:
            self._access.demand_fresh(connection, token)
            if not passkeys.remove(connection, who.username, which):
                raise NotFound("no such key")
            accounts.end_sessions_of(connection, who.username)
            factors.audit(connection, who, "passkey-removed", self._access.now_ns())

        await self._access.database.write(work)
        self._access.forget()

    def begin_sign_in(self) -> Asked:
        """Ask any key that knows this hub; nobody has said yet who they are."""
        return self._question("passkey-sign-in", UserVerificationRequirement.REQUIRED, (), {})

    async def sign_in(
        self, ticket: str, credential: str, address: str, old_token: str = "", machine: str = ""
    ) -> Opened:
        """Open a session for whom a key names and has verified.

        Raises:
            TooManyAttempts: too many answers from this address at once; nothing was looked at.
            PasskeyRefused: the answer proves nothing, or its account's provider was not heard for HEARD_S.
        """
        asked = self._asked("passkey-sign-in", ticket)
        account = await self._alone(asked, credential, address)
        return await self._access.open(account, "passkey", old_token, {"machine": machine})

    def begin_letting_in(self, program: str) -> Asked:
        """Ask any key that knows this hub whether a program may act in its person's name.

        Args:
            program: which one, and all that it asks for; the answer counts for this alone.
        """
        fields = {"program": digest(program)}
        return self._question("passkey-program", UserVerificationRequirement.REQUIRED, (), fields)

    async def let_in(self, ticket: str, credential: str, address: str, program: str) -> Account:
        """Return who lets this program act in their name.

        Raises:
            TooManyAttempts: as `sign_in`.
            PasskeyRefused: as `sign_in`; also where the question was about another program or request.
        """
        asked = self._asked("passkey-program", ticket)
        if asked["program"] != digest(program):
            raise PasskeyRefused("asked for another program")
        return await self._alone(asked, credential, address)

    async def begin_proof(self, username: str, password: str, address: str) -> Asked:
        """Ask the keys of an account whose password was given.

        Raises:
            TooManyAttempts, SignInRefused: as `Access.authenticate`.
            StepRefused: the account has no key.
        """
        return await self.begin_proof_of(await self._access.authenticate(username, password, address))

    async def begin_proof_of(self, account: Account) -> Asked:
        """Ask the keys of an account whose first proof was given: its password, or the identity provider's word.

        Raises:
            StepRefused: the account has no key.
        """
        known = await self._access.database.read(lambda c: passkeys.of_account(c, account.username))
        if not known:
            raise StepRefused("there is no key", [])
        fields = {"username": account.username}
        return self._question("passkey-proof", self._verification(account.role), known, fields)

    async def prove(self, ticket: str, credential: str, address: str) -> str:
        """Return a code that counts once as the second factor of the account that was asked.

        Raises:
            TooManyAttempts, PasskeyRefused: as `sign_in`.
        """
        asked = self._asked("passkey-proof", ticket)
        account = await self._access.database.read(lambda c: accounts.account_of(c, asked["username"]))
        must_verify = account is not None and account.role in self._access.second.roles
        proved = await self._answered(asked, credential, address, must_verify=must_verify)
        return self._access.key_proofs.give(proved.username, self._access.now_ns())

    def _verification(self, role: str) -> UserVerificationRequirement:
        needed = role in self._access.second.roles
        return UserVerificationRequirement.REQUIRED if needed else UserVerificationRequirement.PREFERRED

    @property
    def _tickets(self) -> Tickets:
        return Tickets(self._access.second.seal, self._access.now_ns)

    def _ticket(self, purpose: str, challenge: bytes, fields: dict[str, str]) -> str:
        return self._tickets.write(purpose, {"challenge": bytes_to_base64url(challenge)} | fields, ASKED_S)

    def _question(
        self, purpose: str, verification: UserVerificationRequirement, known: Sequence[Passkey], fields: dict[str, str]
    ) -> Asked:
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        options = webauthn.generate_authentication_options(
            rp_id=self._config.rp_id,
            challenge=challenge,
            timeout=ASKED_S * 1000,
            allow_credentials=_described(known),
            user_verification=verification,
        )
        return Asked(webauthn.options_to_json(options), self._ticket(purpose, challenge, fields))

    def _asked(self, purpose: str, ticket: str) -> dict[str, str]:
        fields = self._tickets.read(purpose, ticket)
        if fields is None:
            raise PasskeyRefused("nobody in this browser asked, or too long ago")
        return fields

    def _own(self, connection: Connection, who: Principal, token: str) -> tuple[Session, list[Passkey]]:
        """Return one's session and own keys where one may add another key now."""
        self._access.demand_settled(who)
        session = self._access.demand_fresh(connection, token)
        known = passkeys.of_account(connection, who.username)
        if len(known) >= KEYS_LIMIT:
            raise StepRefused(f"there are {KEYS_LIMIT} keys already", [])
        return session, known

    def _registered(self, credential: str, challenge: str, who: Principal) -> VerifiedRegistration:
        try:
            verified = webauthn.verify_registration_response(
                credential=credential,
                expected_challenge=base64url_to_bytes(challenge),
                expected_rp_id=self._config.rp_id,
                expected_origin=list(self._config.origins),
                require_user_verification=who.role in self._access.second.roles,
            )
        except _FOREIGN as error:
            raise PasskeyRefused(f"the key's answer is refused ({type(error).__name__})") from error
        if not self._access.key_proofs.is_first(challenge, self._access.now_ns()):
            raise PasskeyRefused("this answer was taken before")
        return verified

    async def _alone(self, asked: dict[str, str], credential: str, address: str) -> Account:
        """Return whose key answered where nothing else is asked; its provider must have been heard within HEARD_S."""
        account = await self._answered(asked, credential, address, must_verify=True)
        since_ns = self._access.now_ns() - HEARD_S * NS_PER_S
        if await self._access.database.read(lambda c: identities.is_unheard(c, account.username, since_ns)):
            await self._access.note_refusal(account.username, account.role, "provider-unheard")
            raise PasskeyRefused("the provider has not vouched for this account lately", "provider-unheard")
        return account

    async def _answered(self, asked: dict[str, str], credential: str, address: str, *, must_verify: bool) -> Account:
        """Return whose key answered; a refusal is audited."""
        async with self._turns.turn(address):
            try:
                return await self._proved(asked, credential, must_verify=must_verify)
            except PasskeyRefused as refused:
                await self._access.note_refusal(refused.username or asked.get("username", ""), "", refused.reason)
                raise

    async def _proved(self, asked: dict[str, str], credential: str, *, must_verify: bool) -> Account:
        access, now_ns = self._access, self._access.now_ns()
        try:
            answer = parse_authentication_credential_json(credential)
        except _FOREIGN as error:
            raise PasskeyRefused("the key's answer cannot be read") from error
        known = await access.database.read(lambda c: passkeys.by_credential(c, answer.raw_id))
        handle = answer.response.user_handle
        if known is None or (handle is not None and handle != known.user_handle):
            raise PasskeyRefused("nobody's key")
        if asked.get("username", known.username) != known.username:
            raise PasskeyRefused("the key of another account")
        verified = self._verified(answer, asked["challenge"], known, must_verify=must_verify)
        if not access.key_proofs.is_first(asked["challenge"], now_ns):
            raise PasskeyRefused("this answer was taken before")
        # A counter that does not grow means that there are two of this key; keys that do not count always say 0.
        counts = verified.new_sign_count > 0 or known.sign_count > 0
        if counts and verified.new_sign_count <= known.sign_count:
            raise PasskeyRefused("the key's counter went back", "passkey-copied", known.username)

        def work(connection: Connection) -> Account | None:
            if not passkeys.use(connection, known, verified.new_sign_count, now_ns):
                return None
            return accounts.account_of(connection, known.username)

        account = await access.database.write(work)
        if account is None or account.disabled or account.role in MACHINES:
            raise PasskeyRefused("nobody who may sign in")
        return account

    def _verified(
        self, answer: AuthenticationCredential, challenge: str, known: Passkey, *, must_verify: bool
    ) -> VerifiedAuthentication:
        try:
            return webauthn.verify_authentication_response(
                credential=answer,
                expected_challenge=base64url_to_bytes(challenge),
                expected_rp_id=self._config.rp_id,
                expected_origin=list(self._config.origins),
                credential_public_key=known.public_key,
                # The counter is judged by us, once the signature has shown that it is the key's own.
                credential_current_sign_count=0,
                require_user_verification=must_verify,
            )
        except _FOREIGN as error:
            raise PasskeyRefused(f"the key's answer is refused ({type(error).__name__})") from error


def _described(known: Sequence[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            one.credential_id, transports=[AuthenticatorTransport(way) for way in one.transports]
        )
        for one in known
    ]


def make(config: PasskeysConfig | None, access: Access) -> Passkeys | None:
    """Return the passkeys of a hub; None where none are configured."""
    return None if config is None else Passkeys(access, config)
