"""OperationOutcome: how every refusal under /fhir is told (R4 3.1.0.1.9)."""

from fastapi import Response
from telemed.screen import Problem

from cloud_hub.fhir.json_text import Json, dumps

MEDIA_TYPE = "application/fhir+json"
_ISSUE = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    409: "conflict",
    413: "too-long",
    422: "invalid",
    429: "throttled",
    503: "transient",
}


def outcome(status: int, text: str, zh: str = "", fields: list[str] | None = None) -> dict[str, Json]:
    """Return an OperationOutcome with one issue."""
    issue: dict[str, Json] = {
        "severity": "error",
        "code": _ISSUE.get(status, "exception"),
        "details": {"text": f"{zh} {text}".strip()},
    }
    if fields:
        issue["expression"] = [f"http.{name}" for name in fields]
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def answer(problem: Problem) -> Response:
    """Return a problem of the hub as an OperationOutcome; a search that cannot be understood is 400 here."""
    status = 400 if problem.status == 422 else problem.status
    body = outcome(status, problem.detail, problem.text.zh, problem.fields)
    return Response(dumps(body), status, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})
