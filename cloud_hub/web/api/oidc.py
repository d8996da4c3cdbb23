"""`/api/v1/oidc`: sign in with the identity provider, come back from it, sign out there too.

What fails on the way back is shown by the sign-in page, in words: the browser is sent to `/?refused=CODE`.
"""

from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from telemed import screen

from cloud_hub.access.federated import ASKED_S, HALF_WAY_S, Caller, Federated, HalfWay
from cloud_hub.access.provider import Answer
from cloud_hub.access.rights import Principal, Right
from cloud_hub.errors import BadRequest, HubError, NotFound
from cloud_hub.web.api.passkeys import passkeys_here, put_question
from cloud_hub.web.api.session import address_of, me, set_cookie
from cloud_hub.web.api.sign_in_ways import federated_of
from cloud_hub.web.guard import access_of, bound_name, check_origin, drop_cookie, keep_cookie, require, session_token
from cloud_hub.web.machine import machine_of

router = APIRouter(prefix="/api/v1/oidc", tags=["session"])
Oneself = Annotated[Principal, Depends(require(Right.SIGNED_IN))]
Given = Annotated[str, Query(max_length=4000)]
TICKET = "yz_asked"
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["logout_token"],
                    "properties": {"logout_token": {"type": "string"}},
                }
            }
        },
    }
}


@router.post("/begin")
async def begin(request: Request, response: Response) -> screen.ProviderBegun:
    """Say where the browser goes to sign in; a provider that is away is told at once, in words."""
    check_origin(request)
    begun = await _federated(request).begin()
    _keep(request, response, begun.ticket, ASKED_S)
    return screen.ProviderBegun(address=begun.address)


@router.get(
    "/callback",
    status_code=303,
    response_class=RedirectResponse,
    responses={303: {"description": "To the hub's pages: signed in, or with what is wrong"}},
)
async def come_back(
    request: Request, code: Given = "", state: Given = "", iss: Given = "", error: Given = ""
) -> Response:
    """Take what the provider sent with the browser; open the session, or say what is still owed or wrong."""
    federated = _federated(request)
    try:
        came = await federated.finish(_ticket(request), Answer(code, state, iss, error), _caller(request))
    except HubError as refused:
        return _forget(request, RedirectResponse(f"/?refused={refused.code}", 303))
    if isinstance(came, HalfWay):
        answer = RedirectResponse("/?refused=second-factor-needed", 303)
        _keep(request, answer, came.ticket, HALF_WAY_S)
        return answer
    answer = RedirectResponse("/", 303)
    set_cookie(request, answer, came)
    return _forget(request, answer)


@router.post("/key/begin")
async def ask_key(request: Request, response: Response) -> screen.PasskeyAsked:
    """Ask the keys of somebody whom the provider knows; the answer is worth a code at `/passkeys/proof`."""
    check_origin(request)
    account, _ = await _federated(request).half_way(_ticket(request))
    return put_question(request, response, await passkeys_here(request).begin_proof_of(account))


@router.post("/second-factor")
async def prove(body: screen.ProviderProofBody, request: Request, response: Response) -> screen.Me:
    """Open the session of somebody whom the provider knows and whose own second factor was still owed."""
    check_origin(request)
    opened = await _federated(request).prove(_ticket(request), body.code, _caller(request))
    set_cookie(request, response, opened)
    _forget(request, response)
    return me(opened.principal)


@router.post("/sign-out")
async def sign_out(request: Request, response: Response, _principal: Oneself) -> screen.ProviderLeft:
    """End this session; say where to end it at the provider too, where it began there."""
    federated = federated_of(request)
    token, _kind = session_token(request)
    drop_cookie(request, response)
    if federated is None:
        await access_of(request).sign_out(token)
        return screen.ProviderLeft(address="")
    back = federated.config.redirect_uri.removesuffix("api/v1/oidc/callback")
    return screen.ProviderLeft(address=await federated.sign_out(token, back))


@router.post("/back-channel-logout", status_code=204, openapi_extra=_FORM)
async def end(request: Request) -> None:
    """Take the provider's word that somebody's session has ended (OpenID Connect Back-Channel Logout 1.0)."""
    federated = _federated(request)
    try:
        form = parse_qs((await request.body()).decode(), max_num_fields=5, strict_parsing=True)
    except ValueError as error:
        raise BadRequest("a form is needed", ["body"]) from error
    tokens = form.get("logout_token", [])
    if len(tokens) != 1:
        raise BadRequest("one logout_token is needed", ["body.logout_token"])
    await federated.end(tokens[0])


def _federated(request: Request) -> Federated:
    found = federated_of(request)
    if found is None:
        raise NotFound("no identity provider is set up")
    return found


def _caller(request: Request) -> Caller:
    token, kind = session_token(request)
    return Caller(address_of(request), token if kind == "cookie" else "", machine_of(request))


def _ticket(request: Request) -> str:
    return request.cookies.get(bound_name(request, TICKET), "")


def _keep(request: Request, response: Response, ticket: str, lifetime_s: int) -> None:
    """Give the browser its ticket; Lax, because it comes back with the provider's redirect."""
    keep_cookie(request, response, ticket, lifetime_s, TICKET)
    response.headers["Cache-Control"] = "no-store"


def _forget(request: Request, response: Response) -> Response:
    drop_cookie(request, response, TICKET)
    return response
