"""Every error answer as problem+json (RFC 9457) with words in both languages; never a stack trace."""

from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from telemed import stuck
from telemed.errors import Code
from telemed.screen import Problem, Text2

from edge_node.bedside.headers import HEADERS, NO_STORE
from edge_node.errors import BufferFailure, EdgeError, NotFound, NotPermitted, SignalRefused, StepRefused

MEDIA_TYPE = "application/problem+json"

_WORDS: dict[str, tuple[int, str, str]] = {
    "bad-input": (422, "输入有误，请检查标出的项", "The input is not right; check the fields named"),
    "bad-json": (400, "内容不是有效的 JSON", "The body is not valid JSON"),
    "bad-media": (415, "不支持这种内容类型", "This kind of content is not taken here"),
    "too-large": (413, "内容太大", "The body is too large"),
    "not-found": (404, "没有找到", "Not found"),
    "refused-rights": (403, "您没有这项权限", "You may not do this"),
    "refused-csrf": (403, "请求来源不明，请刷新页面", "The request does not come from this page; reload it"),
    "refused-illegal-state": (409, "当前状态下不能这样做", "Not possible in the present state"),
    "refused-version": (409, "内容已有变化，请看最新状态", "It changed meanwhile; look at the newest state"),
    "not-signed-in": (401, "请先登录", "Sign in first"),
    "sign-in-refused": (401, "账号或密码不对", "User name or password is not right"),
    "password-ended": (
        401,
        "初始密码已过期，请联系管理员重新设置",
        "This first password was not changed in time; ask the operator for a new one",
    ),
    "try-later": (429, "尝试过多，请稍后再试", "Too many tries; try again later"),
    Code.STORE_LOCKED: (503, *stuck.TEXTS[Code.STORE_LOCKED]),
    "store-full": (503, "本地存储已满，暂时不能保存", "The local store is full; nothing can be saved now"),
    "buffer-failure": (503, "本地存储暂不可用", "The local store cannot be used now"),
    "signal-refused": (400, "会诊信令无效", "The consult signal is not valid"),
    "method-not-allowed": (405, "不支持这种请求", "This kind of request is not supported"),
    "page-missing": (503, "页面尚未构建", "The page has not been built"),
    "edge-error": (500, "内部错误", "Internal error"),
}


class Refusal(Exception):
    """An answer that is an error; the code decides status and words."""

    def __init__(
        self, code: str, detail: str, *, fields: Sequence[str] = (), allowed: Sequence[str] = (), retry_s: float = 0
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.fields = list(fields)
        self.allowed = list(allowed)
        self.retry_s = retry_s


def answer(refusal: Refusal) -> JSONResponse:
    """Return the answer for a refusal."""
    status, zh, en = _WORDS.get(refusal.code, _WORDS["edge-error"])
    problem = Problem(
        title=en,
        status=status,
        detail=str(refusal),
        code=refusal.code,
        text=Text2(zh=zh, en=en),
        fields=refusal.fields,
        allowed=refusal.allowed,
    )
    headers = {"Retry-After": str(max(1, round(refusal.retry_s)))} if refusal.retry_s else None
    return JSONResponse(problem.model_dump(), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def of(error: EdgeError) -> Refusal:
    """Return the refusal that one of the node's own failures becomes."""
    if isinstance(error, StepRefused):
        return Refusal("refused-illegal-state", str(error), allowed=error.allowed)
    if isinstance(error, NotFound | NotPermitted | SignalRefused):
        return Refusal(error.code, str(error))
    if isinstance(error, BufferFailure):
        return Refusal(error.code if error.code in _WORDS else "buffer-failure", "nothing was saved; try again")
    return Refusal("edge-error", error.code)


def install(app: FastAPI) -> None:
    """Make every failure of the app answer as problem+json."""

    @app.exception_handler(Refusal)
    async def _refusal(_: Request, error: Refusal) -> JSONResponse:
        return answer(error)

    @app.exception_handler(EdgeError)
    async def _edge(_: Request, error: EdgeError) -> JSONResponse:
        return answer(of(error))

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
        fields = [".".join(map(str, problem["loc"])) for problem in error.errors()]
        detail = "; ".join(f"{name}: {problem['msg']}" for name, problem in zip(fields, error.errors(), strict=True))
        return answer(Refusal("bad-input", detail, fields=fields))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        codes = {404: "not-found", 405: "method-not-allowed"}
        return answer(Refusal(codes.get(error.status_code, "edge-error"), str(error.detail)))

    @app.exception_handler(Exception)
    async def _any(_: Request, __: Exception) -> JSONResponse:
        made = answer(Refusal("edge-error", "internal error"))
        # This answer is made outside of the doorway that gives all others their headers.
        made.raw_headers += [*HEADERS.items(), NO_STORE]
        return made
