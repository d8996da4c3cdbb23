"""`/api/v1/nodes`: which nodes have certificates, a token for one more, and shutting one out (operators alone)."""

from typing import Annotated

import segno
from fastapi import APIRouter, Depends, Path, Request, Response
from telemed import screen
from telemed.enrolment import Token
from telemed.topics import NodeAddress

from cloud_hub.access.enrolment import TOKEN_LIFE_NS, Who
from cloud_hub.access.rights import Principal, Right
from cloud_hub.errors import NotFound
from cloud_hub.store import node_certificates
from cloud_hub.store.node_certificates import CertificateRow
from cloud_hub.web.guard import require
from cloud_hub.web.parts import NodeDesk, parts_of

router = APIRouter(prefix="/api/v1/nodes", tags=["nodes"])
Keeper = Annotated[Principal, Depends(require(Right.MANAGE_NODES))]
PlaceName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
NS_PER_MS = 1_000_000


@router.get("")
async def listed(request: Request, principal: Keeper) -> screen.EnrolledNodes:
    """Return the newest certificate of every node within scope."""
    parts = parts_of(request)
    if parts.nodes is None:
        return screen.EnrolledNodes(is_certified=False, nodes=[])
    region = parts.config.region
    rows = await parts.stores.care.read(lambda c: node_certificates.newest(c, region))
    now_ns = parts.nodes.now_ns()
    seen = [_view(row, now_ns) for row in rows if principal.sees_site(row.address.site)]
    return screen.EnrolledNodes(is_certified=True, nodes=seen, authority_days=parts.nodes.authority_days())


@router.post("/{site}/{node}/token")
async def invite(
    site: PlaceName, node: PlaceName, request: Request, response: Response, principal: Keeper
) -> screen.NodeToken:
    """Make a one-time token for a node; an earlier one is worth nothing from now on."""
    desk = _desk(request, principal, site)
    response.headers["Cache-Control"] = "no-store"
    address = NodeAddress(parts_of(request).config.region, site, node)
    who = Who(principal.username, principal.role)
    secret = await parts_of(request).stores.care.write(lambda c: desk.enrolment.invite(c, who, address))
    text = Token(desk.host, desk.port, address, secret, desk.ca_sha256).text()
    rows = ["".join("1" if module else "0" for module in row) for row in segno.make(text, error="m").matrix]
    return screen.NodeToken(token=text, qr=rows, ends_ms=(desk.now_ns() + TOKEN_LIFE_NS) // NS_PER_MS)


@router.post("/{site}/{node}/revocation")
async def revoke(
    site: PlaceName, node: PlaceName, body: screen.NodeRevokeBody, request: Request, principal: Keeper
) -> screen.NodeRevoked:
    """Shut a node out on every listener, at once; what it collects stays on its disk."""
    desk = _desk(request, principal, site)
    address = NodeAddress(parts_of(request).config.region, site, node)
    who, reason = Who(principal.username, principal.role), body.reason
    count = await parts_of(request).stores.care.write(lambda c: desk.enrolment.revoke(c, who, address, reason))
    await desk.changed()
    return screen.NodeRevoked(certificates=count)


def _desk(request: Request, principal: Principal, site: str) -> NodeDesk:
    principal.demand_site(site)
    desk = parts_of(request).nodes
    if desk is None:
        raise NotFound("this hub knows nodes by secrets")
    return desk


def _view(row: CertificateRow, now_ns: int) -> screen.EnrolledNode:
    return screen.EnrolledNode(
        site=row.address.site,
        node=row.address.node,
        issued_ms=row.issued_ns // NS_PER_MS,
        ends_ms=row.ends_ns // NS_PER_MS,
        state="revoked" if row.revoked_ns else "ended" if row.ends_ns < now_ns else "good",
        reason=row.reason,
    )
