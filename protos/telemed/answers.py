"""How both HTTP faces describe their refusals in OpenAPI: any request may meet them, so every operation names them."""

from typing import Any

from telemed.screen import Problem, Text2

MEANINGS = {
    400: "The body or the question cannot be read",
    401: "Not signed in, or not with these words",
    403: "Not with this role, or not from this page",
    404: "No such thing, or not within what may be seen",
    405: "No such method here",
    409: "Not possible in the present state",
    413: "The body is too large",
    414: "The question is too long",
    422: "The fields named are not right",
    429: "Too many requests or tries; Retry-After says when to come again",
    503: "Nothing can be saved just now",
}
"""Status of a refusal -> what it says."""


def _schema() -> dict[str, Any]:
    """Schema of a problem with nothing referred to, as it stands in the document of either face."""
    schema = Problem.model_json_schema()
    del schema["$defs"]
    schema["properties"]["text"] = Text2.model_json_schema()
    return schema


def refusals(**more: Any) -> dict[int | str, dict[str, Any]]:
    """Return the refusals as FastAPI takes them; `more` are other forms than problem+json, by their subtype."""
    content = {"application/problem+json": {"schema": _schema()}}
    content |= {f"application/{name.replace('_', '+')}": {"schema": schema} for name, schema in more.items()}
    return {status: {"description": text, "content": content} for status, text in MEANINGS.items()}
