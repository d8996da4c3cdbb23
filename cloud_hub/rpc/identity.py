"""Who calls: behind one small interface, so that certificates can take the place of secrets (decision 34)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from cryptography import x509
from telemed.topics import NodeAddress
from telemed.transfer import NODE_KEY, SECRET_KEY

from cloud_hub.access.deny_list import DenyList
from cloud_hub.access.device_ca import Shown, shown_by
from cloud_hub.broker_rights import Users
from cloud_hub.errors import CallerUnknown


@dataclass(frozen=True, slots=True)
class Caller:
    """What a call shows of who makes it."""

    metadata: Mapping[str, str]
    certificate: Mapping[str, Iterable[bytes]]
    """Properties of the peer's certificate, as gRPC names them; empty without TLS."""


class Identity(Protocol):
    """Judges who calls."""

    def node_of(self, caller: Caller) -> NodeAddress | None:
        """Return the node that calls, None where that is not shown beyond doubt."""


def node_of_region(identity: Identity, region: str, caller: Caller) -> NodeAddress:
    """Return the node that calls.

    Raises:
        CallerUnknown: that is not shown, or it is of another region.
    """
    address = identity.node_of(caller)
    if address is None or address.region != region:
        raise CallerUnknown("who calls is not shown")
    return address


class SecretIdentity:
    """A node is known by the secret that it also has at the broker, compared in constant time."""

    def __init__(self, users: Users) -> None:
        self._users = users

    def node_of(self, caller: Caller) -> NodeAddress | None:
        """Return the node of the call's metadata; the hub's own user is no node."""
        name, secret = caller.metadata.get(NODE_KEY), caller.metadata.get(SECRET_KEY)
        user = self._users.admit(name, secret, f"{name}.rpc", None)
        return None if user is None else user.node


class CertificateIdentity:
    """A node is known by its certificate, which TLS has verified; looked at again with every call.

    A connection may outlive what it showed: a certificate that was revoked or has ended meanwhile is worth nothing.
    """

    def __init__(self, region: str, deny: DenyList, now: Callable[[], datetime]) -> None:
        self._region, self._deny, self._now = region, deny, now

    def node_of(self, caller: Caller) -> NodeAddress | None:
        """Return the node of the peer's certificate; what the metadata says is not looked at."""
        pem = next(iter(caller.certificate.get("x509_pem_cert", ())), b"")
        shown = _shown(pem, self._region)
        if shown is None or self._deny.is_denied(shown.serial) or self._now() > shown.ends:
            return None
        return shown.address


@lru_cache(4096)
def _shown(pem: bytes, region: str) -> Shown | None:
    try:
        return shown_by(x509.load_pem_x509_certificate(pem), region)
    except ValueError:
        return None
