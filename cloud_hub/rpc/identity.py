"""Who calls: behind one small interface, so that certificates can take the place of secrets (decision 34)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from telemed.topics import NodeAddress
from telemed.transfer import NODE_KEY, SECRET_KEY

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
