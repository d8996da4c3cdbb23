"""Every refusal as problem+json (RFC 9457) in both languages; no stack trace and no patient leaves this way.

Refusals of what somebody signed in asked for are audited here, so that no route can forget it.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from telemed.screen import Problem, Text2

from cloud_hub.access.oauth import OAuthRefused
from cloud_hub.errors import (
    ArchiveAway,
    ArchiveFailure,
    BadRequest,
    DestinationRefused,
    HubError,
    ImageUnreadable,
    NotAcceptable,
    NotFound,
    NotPermitted,
    NotSignedIn,
    ProviderAway,
    RequestForged,
    SignInRefused,
    StepRefused,
    StoreFailure,
    StudyAmbiguous,
    TooManyAttempts,
)
from cloud_hub.web.headers import HEADERS

MEDIA_TYPE = "application/problem+json"
Writer = Callable[[Problem], Response]
"""Writes a problem in the form of one face (problem+json, or an OperationOutcome under /fhir)."""

STATUS_OF: dict[type[HubError], int] = {
    NotSignedIn: 401,
    SignInRefused: 401,
    TooManyAttempts: 429,
    RequestForged: 403,
    NotPermitted: 403,
    NotFound: 404,
    StepRefused: 409,
    BadRequest: 422,
    NotAcceptable: 406,
    ImageUnreadable: 409,
    StudyAmbiguous: 409,
    OAuthRefused: 400,
    StoreFailure: 503,
    ProviderAway: 503,
    DestinationRefused: 422,
    ArchiveAway: 503,
    ArchiveFailure: 502,
}
TEXT_OF: dict[str, Text2] = {
    "not-signed-in": Text2(zh="请先登录。", en="Please sign in first."),
    "sign-in-refused": Text2(zh="用户名或密码不正确。", en="User name or password is not right."),
    "second-factor-needed": Text2(
        zh="请输入身份验证器上的验证码。", en="Please enter the code that your authenticator app shows."
    ),
    "second-factor-refused": Text2(
        zh="验证码不正确或已使用，请等待下一个。",
        en="The code is not right or was used already. Please take the next one.",
    ),
    "password-ended": Text2(
        zh="初始密码已过期，请联系管理员重新设置。",
        en="This first password was not changed in time. Please ask the operator for a new one.",
    ),
    "password-unfit": Text2(
        zh="请换一个新密码：至少 12 个字符，不能是常见密码、简单规律、用户名或现用密码。",
        en="Please choose another password: 12 characters or more, and no common one, no simple pattern, not the user "
        "name and not the present password.",
    ),
    "passkey-refused": Text2(
        zh="通行密钥未通过验证，请重试，或使用密码登录。",
        en="The passkey was not accepted. Please try again, or sign in with your password.",
    ),
    "sign-in-again": Text2(
        zh="更改登录方式需要您刚刚登录过：请退出后重新登录，再来此处。",
        en="To change how you sign in you must have signed in just now: please sign out and in again, then come back.",
    ),
    "provider-refused": Text2(
        zh="统一身份认证没有完成，请重试，或使用本地账号登录。",
        en="Signing in with the identity provider did not succeed. Please try again, or use your local account.",
    ),
    "identity-unknown": Text2(
        zh="您的身份已确认，但本系统没有为您开通账号，请联系管理员。",
        en="Your identity is confirmed, but you have no account here. Please ask your administrator.",
    ),
    "provider-away": Text2(
        zh="统一身份认证暂时没有回应，请使用本地账号登录。",
        en="The identity provider does not answer just now. Please sign in with your local account.",
    ),
    "destination-refused": Text2(
        zh="统一身份认证的地址不被允许，请联系管理员。",
        en="The identity provider's address is not allowed. Please tell your administrator.",
    ),
    "too-many-attempts": Text2(
        zh="尝试次数过多，请稍候再试。", en="Too many attempts. Please wait a moment and try again."
    ),
    "too-many-requests": Text2(
        zh="请求过于频繁，请稍候再试。", en="Too many requests. Please wait a moment and try again."
    ),
    "refused-origin": Text2(
        zh="请求未被接受：页面已过期或来自其他网站，请刷新后重试。",
        en="Not accepted: the page is out of date or of another site. Please reload and try again.",
    ),
    "refused-rights": Text2(zh="您的角色不能进行此操作。", en="Your role may not do this."),
    "not-found": Text2(zh="没有找到，或不在您的权限范围内。", en="Not found, or not within your scope."),
    "refused-illegal-state": Text2(
        zh="当前状态下不能进行此步骤，请查看最新情况。",
        en="This step is not possible in the present state. Please look at what happened meanwhile.",
    ),
    "consent-missing": Text2(
        zh="本人没有同意这项用途，不能进行。", en="The person has not agreed to this use; it cannot be done."
    ),
    "not-acceptable": Text2(zh="无法以所要求的格式提供。", en="It cannot be given in the form that was asked for."),
    "reader-away": Text2(
        zh="暂时无法读取影像,文件未丢失,请稍后重试。",
        en="Images cannot be read just now; no file is lost. Please try again shortly.",
    ),
    "image-unreadable": Text2(
        zh="文件已原样保存,但无法读取或显示。", en="The file is kept as it came, but it cannot be read or shown."
    ),
    "study-ambiguous": Text2(
        zh="同一检查编号下有多位患者的影像，请从检查列表中打开所要的一项。",
        en="Images of several patients have this study's number. Please open the one that is meant from a list.",
    ),
    "archive-absent": Text2(
        zh="本系统没有连接医院影像归档。", en="This system is not connected to an archive of images."
    ),
    "archive-failure": Text2(
        zh="医院影像归档没有给出所要的内容。", en="The hospital's archive did not give what was asked for."
    ),
    "archive-away": Text2(
        zh="医院影像归档暂时没有回应，请稍后重试。",
        en="The hospital's archive does not answer just now. Please try again shortly.",
    ),
    "archive-shut": Text2(
        zh="医院影像归档不接受本系统的用户名或密码，请联系管理员。",
        en="The hospital's archive does not take this system's name and password. Please tell your administrator.",
    ),
    "archive-unclear": Text2(
        zh="医院影像归档的回答无法使用，请联系管理员。",
        en="The hospital's archive gives an answer that cannot be used. Please tell your administrator.",
    ),
    "archive-of-another": Text2(
        zh="医院影像归档送来了另一位患者的影像，未予保存，请联系管理员。",
        en="The hospital's archive sent an image of another patient. It was not kept. Please tell your administrator.",
    ),
    "recording-absent": Text2(zh="本系统目前不提供录音录像。", en="This system does not record yet."),
    "bad-request": Text2(zh="请检查填写的内容。", en="Please check what was entered."),
    "unreadable": Text2(zh="请求内容无法读取。", en="The request could not be read."),
    "too-large": Text2(zh="内容过大。", en="This is too large."),
    "method-not-allowed": Text2(zh="此处不支持该方法。", en="This method is not supported here."),
    "store-failure": Text2(
        zh="暂时无法保存，数据未丢失，请稍后重试。",
        en="It cannot be saved just now; nothing is lost. Please try again shortly.",
    ),
    "oauth-refused": Text2(zh="该程序的登录请求不正确。", en="The program's request to sign in is not right."),
    "hub-error": Text2(zh="服务器出现问题，已记录。", en="Something went wrong here. It has been recorded."),
}
_CODE_OF_STATUS = {400: "unreadable", 401: "not-signed-in", 403: "refused-rights", 404: "not-found"} | {
    405: "method-not-allowed",
    413: "too-large",
    422: "bad-request",
}
_AUDITED = (NotFound, NotPermitted, RequestForged)


def install(app: FastAPI, faces: Mapping[str, Writer] | None = None) -> None:
    """Make every refusal of this application a Problem.

    Args:
        app: the application; its `state.access` takes the audit entries.
        faces: path prefix -> writer, for parts that have a form of their own, e.g. {"/fhir/": outcome}.
    """
    answers = _Answers(faces or {})
    app.add_exception_handler(HubError, answers.refusal)
    app.add_exception_handler(RequestValidationError, answers.invalid)
    app.add_exception_handler(HTTPException, answers.by_status)
    app.add_exception_handler(Exception, answers.unforeseen)


def problem(status: int, code: str, detail: str = "", fields: list[str] | None = None) -> Problem:
    """Return a Problem with the text of its code."""
    title = HTTPStatus(status).phrase
    text = TEXT_OF.get(code, TEXT_OF["hub-error"])
    return Problem(title=title, status=status, detail=detail or text.en, code=code, text=text, fields=fields or [])


def write(found: Problem) -> Response:
    """Return a problem as problem+json."""
    return Response(found.model_dump_json(), found.status, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})


def status_of(error: HubError) -> int:
    """Return the HTTP status of a failure: that of its nearest listed class, else 500."""
    return next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 500)


class _Answers:
    """The exception handlers, with the forms they may write."""

    def __init__(self, faces: Mapping[str, Writer]) -> None:
        self._faces = faces
        self._log = structlog.get_logger("web")

    async def refusal(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HubError)
        found = problem(status_of(error), error.code, str(error))
        if isinstance(error, StepRefused):
            found = found.model_copy(update={"allowed": error.allowed})
        if isinstance(error, BadRequest):
            found = found.model_copy(update={"fields": error.fields})
        if found.status >= 500:
            self._log.error("request failed", path=request.url.path, code=error.code)
        if isinstance(error, _AUDITED):
            await _audit(request, error.code)
        response = self._write(request, found)
        if found.status == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="yuanzhen"'
        if isinstance(error, TooManyAttempts):
            response.headers["Retry-After"] = str(int(error.retry_after_s) + 1)
        if found.status == 503:
            response.headers["Retry-After"] = "5"
        return response

    async def invalid(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        fields = [".".join(str(part) for part in one["loc"]) for one in error.errors()]
        unreadable = any(one["type"] == "json_invalid" for one in error.errors())
        status, code = (400, "unreadable") if unreadable else (422, "bad-request")
        # The message of pydantic may quote the value, which may be a patient's: only the fields go out.
        return self._write(request, problem(status, code, fields=fields))

    async def by_status(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response = self._write(request, problem(error.status_code, _CODE_OF_STATUS.get(error.status_code, "hub-error")))
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        return response

    async def unforeseen(self, request: Request, error: Exception) -> Response:
        self._log.error("request failed", path=request.url.path, kind=type(error).__name__)
        answer = self._write(request, problem(500, HubError.code))
        # This answer is made outside of the middleware that gives all others their headers.
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    def _write(self, request: Request, found: Problem) -> Response:
        for prefix, writer in self._faces.items():
            if request.url.path.startswith(prefix):
                return writer(found)
        return write(found)


async def _audit(request: Request, code: str) -> None:
    principal = getattr(request.state, "principal", None)
    access = getattr(request.app.state, "access", None)
    if principal is not None and access is not None:
        await access.audit(principal, "refused", f"{request.method} {request.url.path}", code)
