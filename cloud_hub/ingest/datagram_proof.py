"""Who a session of the datagram server belongs to: the port, and proof by the node's broker secret (decision 34)."""

import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from telemed.datagram import NODE_LIMIT_BYTES, PROOF_BYTES, hub_proof, node_proof
from telemed.topics import NodeAddress

from cloud_hub.broker_rights import load_users, read_secrets


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a proof."""

    node: NodeAddress | None
    """Whose the session is; None: refused."""
    answer: bytes = b""
    """By which the hub proves itself in turn."""
    named: NodeAddress | None = None
    """The node that a refused proof named, if there is one of that name."""


class Prover(Protocol):
    """Decides whose a session is; certificates of nodes come in behind this."""

    def judge(self, proof: bytes, binding: bytes) -> Verdict:
        """Judge the body of a PROOF message against the channel binding; never raises."""


class SecretProver:
    """Knows nodes by the secrets file of the broker."""

    def __init__(self, secrets_file: Path) -> None:
        """Read the secrets.

        Raises:
            ConfigRefused: unreadable, or an entry that cannot be used.
        """
        nodes = {name: user.node for name, user in load_users(secrets_file).by_name.items()}
        secrets = read_secrets(secrets_file)
        self._nodes = {name: (secrets[name]["secret"], node) for name, node in nodes.items() if node is not None}

    def judge(self, proof: bytes, binding: bytes) -> Verdict:
        """Compare with what the node of that name would send; unknown names take the same time."""
        given, name = proof[:PROOF_BYTES], _name(proof[PROOF_BYTES:])
        secret, node = self._nodes.get(name, ("", None))
        is_right = hmac.compare_digest(given, node_proof(secret, name, binding))
        if not is_right or node is None:
            return Verdict(None, named=node)
        return Verdict(node, hub_proof(secret, name, binding))


def _name(raw: bytes) -> str:
    return raw.decode("ascii", "replace") if len(raw) <= NODE_LIMIT_BYTES else ""
