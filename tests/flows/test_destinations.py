"""A real hub asks nobody but who is configured, wherever an identity provider leads it."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.region.region import Region, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
WITHIN = "http://169.254.169.254"
OIDC = """
[oidc]
issuer = "{issuer}"
client_id = "hub"
redirect_uri = "http://127.0.0.1:{port}/api/v1/oidc/callback"
name_zh = "认证"
name_en = "Provider"
private_network = true
"""


@dataclass
class Leading:
    """A provider that leads elsewhere: what it says of itself, or where it sends who asks."""

    document: dict[str, str]
    location: str = ""
    asked: int = 0


@pytest.fixture(scope="module")
def leading() -> Iterator[tuple[Leading, str]]:
    state = Leading({})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked += 1
            self.send_response(302 if state.location else 200)
            if state.location:
                self.send_header("Location", state.location)
            self.end_headers()
            self.wfile.write(json.dumps(state.document).encode())

        def log_message(self, *_args: object, **_named: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield state, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def hub(leading: tuple[Leading, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    class Asking(Region):
        def _hub_config(self) -> str:
            return super()._hub_config() + OIDC.format(issuer=leading[1], port=self.ports["web"])

        def start(self) -> None:
            self.start_hub()

    with running(Asking(Path(tmp_path_factory.mktemp("region")), ())) as region:
        yield region


def test_row_31_a_destination_on_the_local_link_or_a_redirect_to_one_is_refused(
    hub: Region, leading: tuple[Leading, str]
) -> None:
    state, issuer = leading
    good = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/auth",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/jwks",
    }
    with httpx.Client(base_url=hub.hub_url) as browser:
        for leads in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            state.document = good | {leads: f"{WITHIN}/latest"}
            refused = browser.post("/api/v1/oidc/begin")
            assert (refused.status_code, refused.json()["code"]) == (422, "destination-refused"), leads
        state.document, state.location = good, f"{WITHIN}/.well-known/openid-configuration"
        assert browser.post("/api/v1/oidc/begin").json()["code"] == "destination-refused"
        state.location = ""
        begun = browser.post("/api/v1/oidc/begin")
        assert begun.json()["address"].startswith(f"{issuer}/auth?")
        assert state.asked == 5
        assert browser.get("/healthz").status_code == 200
