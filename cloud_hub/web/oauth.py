"""`/oauth/token` and `/oauth/authorize` (RFC 6749, 7636), and where other programs find them."""

import base64
import binascii
import html
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse
from telemed import answers, screen

from cloud_hub.access.oauth import PEOPLES_DEFAULT_SCOPES, CodeRequest, Grant, OAuth, OAuthRefused, Proof, told
from cloud_hub.access.rights import RESOURCES, parse_scope
from cloud_hub.errors import (
    BadRequest,
    PasskeyRefused,
    PasswordEnded,
    SecondFactorNeeded,
    SignInRefused,
    TooManyAttempts,
)
from cloud_hub.web.api.passkeys import checked_credential, key_ticket, passkeys_here, put_question
from cloud_hub.web.api.session import address_of, source_of
from cloud_hub.web.api.sign_in_ways import is_demo, passkeys_of
from cloud_hub.web.guard import access_of, check_origin

router = APIRouter(tags=["oauth"])
GRANTS = ("client_credentials", "authorization_code")
_ERROR = {
    "application/json": {"schema": {"type": "object", "required": ["error"]}},
    **answers.refusals()[401]["content"],
}
_REFUSED: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": _ERROR}
    for status, text in ((400, "RFC 6749 5.2"), (401, "invalid_client"), (429, "Too many tries"))
}
_SENT_BACK: dict[int | str, dict[str, Any]] = {303: {"description": "Back to the program, with what is wrong"}}
_AGAIN: dict[int | str, dict[str, Any]] = {401: {"description": "The page again", "content": {"text/html": {}}}}
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@router.get("/.well-known/smart-configuration")
async def smart_configuration(request: Request) -> JSONResponse:
    """Say where to get a token and what it may name (SMART App Launch 2, section 7)."""
    base = str(request.base_url).rstrip("/")
    return JSONResponse(
        {
            "issuer": base,
            "authorization_endpoint": f"{base}/oauth/authorize",
            "token_endpoint": f"{base}/oauth/token",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "grant_types_supported": list(GRANTS),
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": [f"{context}/{name}.rs" for context in ("user", "system") for name in RESOURCES],
            "capabilities": ["client-confidential-symmetric", "permission-v2", "permission-user"],
        }
    )


@router.post("/oauth/token", responses=_REFUSED)
async def token(request: Request) -> JSONResponse:
    """Exchange a program's secret or a person's code for a bearer token of one hour."""
    try:
        form = await _form(request)
        return _granted(await _grant(request, form))
    except OAuthRefused as error:
        return _refused(error.error, str(error), 401 if error.error == "invalid_client" else 400)
    except TooManyAttempts as error:
        answer = _refused("invalid_client", str(error), 429)
        answer.headers["Retry-After"] = str(int(error.retry_after_s) + 1)
        return answer
    except SignInRefused as error:
        return _refused("invalid_client", str(error), 401)


async def _grant(request: Request, form: dict[str, str]) -> Grant:
    oauth = OAuth(access_of(request))
    client_id, secret = _client(request, form)
    if form.get("grant_type") == "client_credentials":
        return await oauth.for_program(client_id, secret, form.get("scope", ""), address_of(request))
    if form.get("grant_type") == "authorization_code":
        if secret:
            await access_of(request).authenticate(client_id, secret, address_of(request))
        return await oauth.exchange(
            form.get("code", ""), client_id, form.get("redirect_uri", ""), form.get("code_verifier", "")
        )
    raise OAuthRefused("unsupported_grant_type", "client_credentials or authorization_code")


@router.get("/oauth/key.js", response_class=FileResponse)
async def key_script() -> Response:
    """Serve the one script of the page: without it no page can ask a key."""
    return FileResponse(_KEY_SCRIPT, media_type="text/javascript")


@router.get("/oauth/page.css", response_class=FileResponse)
async def page_style() -> Response:
    """Serve how the page looks."""
    return FileResponse(_STYLE, media_type="text/css")


@router.post("/oauth/authorize/key", responses=_SENT_BACK)
async def ask_key(request: Request, response: Response) -> screen.PasskeyAsked:
    """Ask a key whether this program may act in its person's name."""
    check_origin(request)
    try:
        wanted = _code_request(await _form(request))
        await OAuth(access_of(request)).check_request(wanted)
    except OAuthRefused as error:
        raise BadRequest(str(error), ["body"]) from error
    return put_question(request, response, passkeys_here(request).begin_letting_in(told(wanted)))


@router.get("/oauth/authorize", response_class=HTMLResponse, responses=_SENT_BACK)
async def ask(request: Request) -> Response:
    """Show the page on which a person signs in for another program."""
    return await _page(request, dict(request.query_params), failed="")


@router.post("/oauth/authorize", status_code=303, response_class=RedirectResponse, responses=_AGAIN)
async def answer(request: Request) -> Response:
    """Send the person back with a code, or show the page again."""
    check_origin(request)
    form = await _form(request)
    wanted = _code_request(form)
    try:
        code = await (_code_by_key if "credential" in form else _code_by_password)(request, wanted, form)
    except OAuthRefused as error:
        return _send_back(wanted, error)
    except TooManyAttempts:
        return await _page(request, form, failed="尝试次数过多，请稍候再试。 Too many attempts, please wait.")
    except PasskeyRefused:
        return await _page(request, form, failed="密钥未通过验证。 The key was not accepted.")
    except SecondFactorNeeded:
        return await _page(request, form, failed="请再输入密码和验证码。 Enter your password again, and the code.")
    except PasswordEnded:
        return await _page(
            request, form, failed="初始密码已过期，请联系管理员。 This first password has ended: ask the operator."
        )
    except SignInRefused:
        return await _page(request, form, failed="用户名或密码不正确。 User name or password is not right.")
    return RedirectResponse(_with(wanted, {"code": code}), 303, headers=_NO_STORE)


async def _code_by_password(request: Request, wanted: CodeRequest, form: dict[str, str]) -> str:
    proof = Proof(form.get("username", ""), form.get("password", ""), form.get("code", ""))
    return await OAuth(access_of(request)).give_code(wanted, proof, source_of(request, proof.username))


async def _code_by_key(request: Request, wanted: CodeRequest, form: dict[str, str]) -> str:
    credential, known = checked_credential(form["credential"]), passkeys_here(request)
    account = await known.let_in(key_ticket(request), credential, address_of(request), told(wanted))
    return await OAuth(access_of(request)).give_code_by_key(wanted, account)


def _send_back(wanted: CodeRequest, error: OAuthRefused) -> Response:
    """Tell the program through the redirect; never through one that is not registered."""
    if error.error == "invalid_client":
        raise BadRequest(str(error), ["client_id", "redirect_uri"])
    return RedirectResponse(_with(wanted, {"error": error.error}), 303, headers=_NO_STORE)


async def _page(request: Request, values: dict[str, str], failed: str) -> Response:
    wanted = _code_request(values)
    try:
        if values.get("response_type", "code") != "code" or values.get("code_challenge_method", "S256") != "S256":
            raise OAuthRefused("invalid_request", "response_type code with S256 only")
        client = await OAuth(access_of(request)).check_request(wanted)
    except OAuthRefused as error:
        return _send_back(wanted, error)
    names = ("client_id", "redirect_uri", "code_challenge", "scope", "state")
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(values.get(name, ""), quote=True)}">' for name in names
    )
    body = _PAGE.format(
        demo='<span class="demo">演示 · Demo</span>' if is_demo(request) else "",
        program=html.escape(" · ".join(dict.fromkeys((client.name_zh, client.name_en)))),
        scopes="".join(map(_in_words, wanted.scope.split() or PEOPLES_DEFAULT_SCOPES)),
        failed=f'<p role="alert">{html.escape(failed)}</p>' if failed else "",
        hidden=hidden,
        key=_KEY.format(hidden=hidden) if passkeys_of(request) is not None else "",
    )
    target = urlsplit(wanted.redirect_uri)
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self' {target.scheme}://"
        f"{target.netloc}; frame-ancestors 'none'; base-uri 'none'"
    )
    # Not no-referrer as elsewhere: under that, browsers send a form with `Origin: null`, and it would be refused.
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}
    return HTMLResponse(body, 401 if failed else 200, headers=headers | _NO_STORE)


_PAGE = """<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>登录 · Sign in</title><link rel="stylesheet" href="/oauth/page.css"></head><body><main>
{demo}<h1>远诊 Yuanzhen</h1>
<p class="program">{program}</p>
<p>该程序请求在一小时内以您的名义读取以下内容 · This program asks to read in your name, for one hour:</p>
<ul>{scopes}</ul>
{failed}
<form method="post" action="/oauth/authorize">{hidden}
<p><label>用户名 · User name <input name="username" autocomplete="username" required maxlength="64"></label></p>
<p><label>密码 · Password <input name="password" type="password" autocomplete="current-password" required
maxlength="256"></label></p>
<p><label>验证码（如已设置） · Code, if you have set one up <input name="code" autocomplete="one-time-code"
maxlength="64"></label></p>
<p><button type="submit">登录并允许 · Sign in and allow</button></p></form>
{key}</main></body></html>
"""
_KEY = """<form method="post" action="/oauth/authorize" data-key hidden>{hidden}
<input type="hidden" name="credential" value="">
<p><button type="submit">用通行密钥或安全密钥登录并允许 · Sign in with a passkey or security key, and allow</button></p>
<p role="alert" hidden>未完成：已取消、超时，或本设备没有您的密钥。
Not completed: it was cancelled, took too long, or this device has no key for it.</p></form>
<script type="module" src="/oauth/key.js"></script>
"""
_WORDS = {
    "*": (
        "您可查看的患者资料、测量值、影像、设备和转诊",
        "persons, measurements, images, devices and referrals that you may see",
    ),
    "Patient": ("患者资料", "persons"),
    "Observation": ("测量值", "measurements"),
    "Device": ("设备与线路", "devices and links"),
    "ServiceRequest": ("转诊", "referrals"),
    "AuditEvent": ("访问记录", "the audit trail"),
    "Encounter": ("会诊", "consults"),
    "Consent": ("授权", "consents"),
    "ImagingStudy": ("影像检查与图像", "studies with their images"),
    "DiagnosticReport": ("影像的 AI 报告与医师判断", "reports of models, and what physicians say of them"),
}
_KEY_SCRIPT = Path(__file__).with_name("oauth_key.js")
_STYLE = Path(__file__).with_name("oauth_page.css")


def _in_words(scope: str) -> str:
    """Return a scope that may be asked for as people read it."""
    zh, en = _WORDS[parse_scope(scope).resource]
    return f"<li>{zh} · {en} <code>{html.escape(scope)}</code></li>"


def _code_request(values: dict[str, str]) -> CodeRequest:
    return CodeRequest(
        client_id=values.get("client_id", ""),
        redirect_uri=values.get("redirect_uri", ""),
        challenge=values.get("code_challenge", ""),
        scope=values.get("scope", ""),
        state=values.get("state", ""),
    )


def _with(wanted: CodeRequest, values: dict[str, str]) -> str:
    if wanted.state:
        values = values | {"state": wanted.state}
    joint = "&" if urlsplit(wanted.redirect_uri).query else "?"
    return wanted.redirect_uri + joint + urlencode(values)


async def _form(request: Request) -> dict[str, str]:
    """Return a form's fields.

    Raises:
        OAuthRefused: `invalid_request`: not a form, not UTF-8, or a field twice (RFC 6749 3.2).
    """
    if not request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        raise OAuthRefused("invalid_request", "application/x-www-form-urlencoded is needed")
    try:
        text = (await request.body()).decode()
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError as error:
        raise OAuthRefused("invalid_request", "the form cannot be read") from error
    if len(dict(pairs)) != len(pairs) or "\0" in text or "%00" in text:
        raise OAuthRefused("invalid_request", "a field stands twice, or has a NUL")
    return dict(pairs)


def _client(request: Request, form: dict[str, str]) -> tuple[str, str]:
    """Return id and secret, from HTTP Basic where that is sent, else from the form."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        name, _, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise OAuthRefused("invalid_client", "HTTP Basic cannot be read") from error
    return name, secret


def _granted(grant: Grant) -> JSONResponse:
    content = {
        "access_token": grant.access_token,
        "token_type": "Bearer",
        "expires_in": grant.expires_in_s,
        "scope": " ".join(grant.scopes),
    }
    return JSONResponse(content, headers=_NO_STORE)


def _refused(error: str, text: str, status: int) -> JSONResponse:
    headers = dict(_NO_STORE)
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="yuanzhen"'
    return JSONResponse({"error": error, "error_description": text}, status, headers=headers)
