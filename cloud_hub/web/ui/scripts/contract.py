"""Prints `src/contract.ts`: the TypeScript form of the shapes, measures and moves that server and page share.

Run `python scripts/contract.py > src/contract.ts` after a change in `telemed`; `tests/ui/test_contract.py`
fails while the two differ.
"""

import inspect
import json
import sys
import types
import typing

from telemed import measures, referral, screen

_PRIMITIVES: dict[object, str] = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}


def type_text(annotation: object) -> str:
    """Return the TypeScript form of one Python annotation; raises KeyError for a form not known here."""
    if annotation in _PRIMITIVES:
        return _PRIMITIVES[annotation]
    if isinstance(annotation, type) and issubclass(annotation, screen.View):
        return annotation.__name__
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_text(arguments[0])
    if origin is typing.Literal:
        return " | ".join(json.dumps(value) for value in arguments)
    if origin in {types.UnionType, typing.Union}:
        return " | ".join(type_text(argument) for argument in arguments)
    if origin is list:
        inner = type_text(arguments[0])
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if origin is tuple:
        return "[" + ", ".join(type_text(argument) for argument in arguments) + "]"
    raise KeyError(f"no TypeScript form for {annotation!r}")


def interface(view: type[screen.View]) -> str:
    """Return one interface; a field with a default is optional only in bodies, which pages send."""
    is_sent = view.__name__.endswith("Body") or view.__name__ in {"SignIn", "SignalView"}
    lines = [f"/** {(view.__doc__ or '').strip().splitlines()[0]} */", f"export interface {view.__name__} {{"]
    for name, field in view.model_fields.items():
        if field.description:
            lines.append(f"  /** {field.description} */")
        mark = "?" if is_sent and not field.is_required() else ""
        lines.append(f"  {name}{mark}: {type_text(field.annotation)};")
    return "\n".join([*lines, "}"])


def views() -> list[type[screen.View]]:
    """Return every shape of `telemed.screen`, in the order of the file."""
    found = [
        value
        for value in vars(screen).values()
        if inspect.isclass(value) and issubclass(value, screen.View) and value is not screen.View
    ]
    return sorted(found, key=lambda view: inspect.getsourcelines(view)[1])


def tables() -> str:
    """Return the measures, waves and referral tables as constants."""
    rows = {
        key: {"zh": row.zh, "en": row.en, "unit": row.unit, "step": row.step, "staleAfterS": row.stale_after_s}
        for key, row in measures.MEASURES.items()
    }
    waves = {key: {"zh": row.zh, "en": row.en, "unit": row.unit} for key, row in measures.WAVES.items()}
    entered = {state.value: sorted(role.value for role in roles) for state, roles in referral.ENTERED_BY.items()}
    parts = {
        "MEASURES: Record<string, MeasureRow>": rows,
        "WAVES: Record<string, WaveRow>": waves,
        "ACKNOWLEDGE_WITHIN_S: Record<string, number>": referral.ACKNOWLEDGE_WITHIN_S,
        "VIDEO_WITHIN_S: Record<string, number>": referral.VIDEO_WITHIN_S,
        "ENTERED_BY: Record<string, string[]>": entered,
        "OPEN_STATES: string[]": sorted(state.value for state in referral.OPEN),
        "MAIN_SIGNS: string[]": list(referral.MAIN_SIGNS),
        "LEVELS: string[]": list(referral.LEVELS),
    }
    heads = [
        "export interface MeasureRow { zh: string; en: string; unit: string; step: string; staleAfterS: number }",
        "export interface WaveRow { zh: string; en: string; unit: string }",
    ]
    values = {name: json.dumps(value, ensure_ascii=False, indent=2) for name, value in parts.items()}
    texts = [f"export const {name} = {value};" for name, value in values.items()]
    return "\n".join([*heads, *texts])


def document() -> str:
    """Return the whole file."""
    unions = [f"export type {name} = {type_text(getattr(screen, name))};" for name in ("ServerMessage", "PageMessage")]
    head = "// Written by scripts/contract.py from telemed.screen, telemed.measures and telemed.referral: do not edit."
    return "\n\n".join([head, *map(interface, views()), *unions, tables()]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
