"""Browsers in which an account has signed in before: what is tried there counts for the browser, not for its address.

Many clinics share one address of their carrier, and names are no secret.  Without this a neighbour who tries a doctor's
name would hold up that doctor too.  The browser keeps a sealed list of the accounts that it is known to, and the hub
nothing (OWASP calls it device cookies); it opens nothing by itself.
"""

import json
from dataclasses import dataclass

from fastapi import Request, Response

from cloud_hub.access.tickets import Tickets
from cloud_hub.access.tokens import new_token
from cloud_hub.web.guard import access_of, bound_name, keep_cookie

COOKIE, PURPOSE = "yz_known", "known-browser"
LIFETIME_S = 90 * 86_400
LONGEST_LIST = 8
"""Accounts of one browser; the one that signed in longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a browser keeps."""

    browser_id: str
    usernames: tuple[str, ...]
    """The last to sign in stands first."""


def browser_of(request: Request, username: str) -> str:
    """Return what failures under this name are counted against here; empty where it never signed in in this browser."""
    known = _read(request)
    return f"browser {known.browser_id}" if known is not None and username in known.usernames else ""


def remember(request: Request, response: Response, username: str) -> None:
    """Have the browser keep that this account signed in there.

    Lax, as it must come along with the provider's redirect: a list that is not sent is taken for none and begun anew.
    """
    known = _read(request) or Known(new_token(), ())
    usernames = (username, *(one for one in known.usernames if one != username))[:LONGEST_LIST]
    fields = {"id": known.browser_id, "usernames": json.dumps(usernames)}
    keep_cookie(request, response, _tickets(request).write(PURPOSE, fields, LIFETIME_S), LIFETIME_S, COOKIE)


def _read(request: Request) -> Known | None:
    fields = _tickets(request).read(PURPOSE, request.cookies.get(bound_name(request, COOKIE), ""))
    return None if fields is None else Known(fields["id"], tuple(json.loads(fields["usernames"])))


def _tickets(request: Request) -> Tickets:
    access = access_of(request)
    return Tickets(access.second.seal, access.now_ns)
