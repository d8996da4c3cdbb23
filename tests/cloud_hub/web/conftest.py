"""Sign-in and OAuth over HTTP, on the accounts of tests/cloud_hub/access."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from cloud_hub.access.sign_in import Access
from cloud_hub.web import oauth, problems
from cloud_hub.web.api import session
from cloud_hub.web.limits import RequestLimits
from tests.cloud_hub.access.conftest import PASSWORD, access, audit_of, care, clock, hashed

__all__ = ["access", "audit_of", "care", "clock", "hashed"]


@pytest.fixture
def password() -> str:
    """Password of all accounts."""
    return PASSWORD


@pytest.fixture
async def stranger(access: Access) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that nobody has signed in with."""
    app = FastAPI()
    app.state.access = access
    problems.install(app)
    app.add_middleware(RequestLimits)
    app.include_router(session.router)
    app.include_router(oauth.router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as client:
        yield client
