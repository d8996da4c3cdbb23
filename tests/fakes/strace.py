"""What strace (`-f`) wrote, call by call."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE = re.compile(r"^(?P<pid>\d+)\s+(?:[\d.]+ )?(?P<call>.*)$")
_UNFINISHED = "<unfinished ...>"


class Call(NamedTuple):
    """One line: a whole call, or where another process came between, its begin or its end."""

    text: str
    """The call with what is known of it by then; at its end the whole."""
    begins: bool
    """What it writes or sends may be on its way from here on."""
    ends: bool
    """What it syncs is synced, if it returned 0."""


def calls(trace: str) -> Iterator[Call]:
    """Yield the lines that tell of calls, in their order."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        pid, text = found["pid"], found["call"]
        if text.startswith("<..."):
            yield Call(f"{begun.pop(pid, '')} {text}", begins=False, ends=True)
        elif text.endswith(_UNFINISHED):
            begun[pid] = text.removesuffix(_UNFINISHED).rstrip()
            yield Call(begun[pid], begins=True, ends=False)
        else:
            yield Call(text, begins=True, ends=True)
