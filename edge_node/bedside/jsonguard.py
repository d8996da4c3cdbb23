"""Bodies that must not reach the parser (reliability 4.4 rows 28 and 30): pure."""

import json
from typing import Any

BODY_LIMIT_BYTES = 1024 * 1024
DEPTH_LIMIT = 32


class BadBody(ValueError):
    """Why a body is refused; `field` names what is wrong where that is known."""

    def __init__(self, reason: str, field: str = "body", code: str = "bad-json") -> None:
        super().__init__(reason)
        self.field = field
        self.code = code


def check(body: bytes) -> None:
    """Look through a JSON body before anything else does.

    Raises:
        BadBody: not JSON, nested deeper than DEPTH_LIMIT, a name twice in one object, or a null byte in a text.
    """
    if _depth(body) > DEPTH_LIMIT:
        raise BadBody(f"nested deeper than {DEPTH_LIMIT}")
    try:
        value = json.loads(body, object_pairs_hook=_object)
    except BadBody:
        raise
    except ValueError as error:
        raise BadBody("not valid JSON") from error
    _refuse_null_bytes(value, "body")


def _depth(body: bytes) -> int:
    """Greatest nesting, counted without recursion and outside of texts."""
    depth = deepest = 0
    in_text = escaped = False
    for byte in body:
        if in_text:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_text = False
        elif byte == 0x22:
            in_text = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > DEPTH_LIMIT:
                return deepest
        elif byte in b"]}":
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise BadBody(f"{name!r} stands twice in one object", name)
        found[name] = value
    return found


def _refuse_null_bytes(value: object, where: str) -> None:
    if isinstance(value, str) and "\x00" in value:
        raise BadBody("a text holds a null byte", where, "bad-input")
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_null_bytes(name, where)
            _refuse_null_bytes(inner, f"{where}.{name}")
    elif isinstance(value, list):
        for inner in value:
            _refuse_null_bytes(inner, where)
