"""`/api/v1/sign-in-ways`: what the sign-in page offers beside name and password."""

from fastapi import APIRouter, Request, Response
from telemed.screen import SignInWays, Text2

from cloud_hub.access.federated import Federated
from cloud_hub.access.passkeys import Passkeys

router = APIRouter(prefix="/api/v1/sign-in-ways", tags=["session"])


@router.get("")
async def ways(request: Request, response: Response) -> SignInWays:
    """Say which there are; asks nobody else, so that the page shows at once."""
    response.headers["Cache-Control"] = "no-store"
    provider = federated_of(request)
    name = None if provider is None else Text2(zh=provider.config.name_zh, en=provider.config.name_en)
    return SignInWays(provider=name, passkeys=passkeys_of(request) is not None, demo=is_demo(request))


def is_demo(request: Request) -> bool:
    """Return whether every page carries the mark Demo."""
    return bool(getattr(request.app.state, "is_demo", False))


def passkeys_of(request: Request) -> Passkeys | None:
    """Return the application's passkeys; None where none are configured."""
    found: Passkeys | None = getattr(request.app.state, "passkeys", None)
    return found


def federated_of(request: Request) -> Federated | None:
    """Return the application's sign-in by the identity provider; None where none is configured."""
    found: Federated | None = getattr(request.app.state, "federated", None)
    return found
