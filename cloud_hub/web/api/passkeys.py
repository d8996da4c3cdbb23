"""`/api/v1/passkeys`: one's own passkeys and security keys, signing in with one, proving the second factor by one."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from telemed import screen

from cloud_hub.access.passkeys import ASKED_S, Asked, Passkeys
from cloud_hub.access.rights import Principal, Right
from cloud_hub.errors import BadRequest, NotFound
from cloud_hub.store.passkeys import Passkey
from cloud_hub.web.api.session import address_of, me, set_cookie, source_of
from cloud_hub.web.api.sign_in_ways import passkeys_of
from cloud_hub.web.guard import bound_name, check_origin, demand_browser, keep_cookie, require, session_token
from cloud_hub.web.limits import JsonRefused, check_json
from cloud_hub.web.machine import machine_of
from cloud_hub.web.views import ms, ms_or_none

router = APIRouter(prefix="/api/v1/passkeys", tags=["session"])
Oneself = Annotated[Principal, Depends(require(Right.SIGNED_IN))]
KeyId = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9a-f]+$")]
TICKET = "yz_key_asked"


@router.get("")
async def listed(request: Request, principal: Oneself) -> screen.Passkeys:
    """Return one's own keys, oldest first."""
    known = passkeys_of(request)
    found = await known.listed(principal) if known is not None else []
    return screen.Passkeys(offered=known is not None, passkeys=[_view(one) for one in found])


@router.post("/begin")
async def begin_adding(request: Request, response: Response, principal: Oneself) -> screen.PasskeyAsked:
    """Ask for a new key; open for ten minutes after signing in."""
    asked = await passkeys_here(request).begin_adding(principal, _own_session(request, principal))
    return put_question(request, response, asked)


@router.post("", status_code=201)
async def add(
    body: screen.PasskeyBody, request: Request, response: Response, principal: Oneself
) -> screen.PasskeyAdded:
    """Take a new key into use; the session is replaced by one that has the second factor."""
    token = _own_session(request, principal)
    if not body.name.strip():
        raise BadRequest("a key needs a name", ["body.name"])
    credential, name = checked_credential(body.credential), body.name.strip()
    made, opened = await passkeys_here(request).add(principal, token, key_ticket(request), name, credential)
    set_cookie(request, response, opened)
    return screen.PasskeyAdded(passkey=_view(made), me=me(opened.principal))


@router.post("/{key_id}/remove", status_code=204)
async def remove(key_id: KeyId, request: Request, principal: Oneself) -> None:
    """Take one of one's own keys away; ends all sessions of the account."""
    await passkeys_here(request).remove(principal, _own_session(request, principal), key_id)


@router.post("/sign-in/begin")
async def begin_sign_in(request: Request, response: Response) -> screen.PasskeyAsked:
    """Ask any key that knows this hub."""
    check_origin(request)
    return put_question(request, response, passkeys_here(request).begin_sign_in())


@router.post("/sign-in")
async def sign_in(body: screen.PasskeyAnswerBody, request: Request, response: Response) -> screen.Me:
    """Open a session for whom the key names and has verified."""
    check_origin(request)
    old, kind = session_token(request)
    credential, before = checked_credential(body.credential), old if kind == "cookie" else ""
    opened = await passkeys_here(request).sign_in(
        key_ticket(request), credential, address_of(request), before, machine_of(request)
    )
    set_cookie(request, response, opened)
    return me(opened.principal)


@router.post("/proof/begin")
async def begin_proof(body: screen.PasskeyProofBody, request: Request, response: Response) -> screen.PasskeyAsked:
    """Ask the keys of an account whose password is right."""
    check_origin(request)
    asked = await passkeys_here(request).begin_proof(body.username, body.password, source_of(request, body.username))
    return put_question(request, response, asked)


@router.post("/proof")
async def prove(body: screen.PasskeyAnswerBody, request: Request) -> screen.PasskeyProof:
    """Return a code that counts once where a code of the second factor is asked for."""
    check_origin(request)
    credential = checked_credential(body.credential)
    code = await passkeys_here(request).prove(key_ticket(request), credential, address_of(request))
    return screen.PasskeyProof(code=code)


def passkeys_here(request: Request) -> Passkeys:
    """Return the application's passkeys.

    Raises:
        NotFound: none are configured.
    """
    found = passkeys_of(request)
    if found is None:
        raise NotFound("no passkeys are set up")
    return found


def _own_session(request: Request, principal: Principal) -> str:
    """Return the token of a session of the hub's own page."""
    demand_browser(principal)
    return session_token(request)[0]


def checked_credential(credential: str) -> str:
    """Return JSON text that is within the limits of any body.

    Raises:
        BadRequest: it is not.
    """
    try:
        check_json(credential.encode("utf-8", "replace"))
    except JsonRefused as error:
        raise BadRequest("the key's answer is no JSON", ["body.credential"]) from error
    return credential


def key_ticket(request: Request) -> str:
    """Return what this browser keeps of the question that its key was asked last; empty for none."""
    return request.cookies.get(bound_name(request, TICKET), "")


def put_question(request: Request, response: Response, asked: Asked) -> screen.PasskeyAsked:
    """Put a question to the browser's keys, and leave its ticket with the browser."""
    keep_cookie(request, response, asked.ticket, ASKED_S, TICKET, "strict")
    response.headers["Cache-Control"] = "no-store"
    return screen.PasskeyAsked(options=asked.options)


def _view(found: Passkey) -> screen.Passkey:
    return screen.Passkey(
        key_id=found.key_id, name=found.name, made_ms=ms(found.made_ns), used_ms=ms_or_none(found.used_ns)
    )
