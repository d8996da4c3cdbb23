"""Who a session of the datagram server belongs to: the port, proof by certificate, and by secret (decision 34).

A certificate is not shown in the DTLS handshake: its flights would be three times as long, need more datagrams to
arrive where half of them are lost, and the hub would answer a stranger with more than it was sent.  It comes in the
proof instead, with a signature by its key over the channel binding, which no other channel has.
"""

import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.datagram import NODE_LIMIT_BYTES, PROOF_BYTES, hub_proof, node_proof
from telemed.enrolment import DATAGRAM_HUB, DATAGRAM_NODE, is_signed, pack_proof, sign, unpack_proof
from telemed.topics import NodeAddress

from cloud_hub.access.ca_folder import CaFolder
from cloud_hub.access.deny_list import DenyList
from cloud_hub.access.device_ca import is_good, shown_by
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
    lasts_s: float = math.inf
    """How long the session may last at most: what was shown has an end."""


class Prover(Protocol):
    """Decides whose a session is."""

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


class CertificateProver:
    """Knows nodes by certificates of the hub's authority."""

    def __init__(self, folder: CaFolder, deny: DenyList, now: Callable[[], datetime]) -> None:
        self._folder, self._deny, self._now = folder, deny, now
        self._shown_der = folder.listeners.public_bytes(Encoding.DER)

    def judge(self, proof: bytes, binding: bytes) -> Verdict:
        """Judge certificate and signature; what is not signed by its key names nobody."""
        unpacked, now = unpack_proof(proof), self._now()
        # Whose it is first: nothing else of a stranger's certificate is looked at.
        if unpacked is None or not is_good(unpacked[1], self._folder.trusted, now):
            return Verdict(None)
        signature, certificate = unpacked
        node = self._node_of(certificate) if is_signed(certificate, signature, DATAGRAM_NODE, binding) else None
        if node is None:
            return Verdict(None)
        if self._deny.is_denied(f"{certificate.serial_number:x}"):
            return Verdict(None, named=node)
        answer = sign(self._folder.listeners_key, DATAGRAM_HUB, binding)
        lasts_s = (certificate.not_valid_after_utc - now).total_seconds()
        return Verdict(node, pack_proof(answer, self._shown_der), lasts_s=lasts_s)

    def _node_of(self, certificate: x509.Certificate) -> NodeAddress | None:
        shown = shown_by(certificate, self._folder.region)
        return None if shown is None else shown.address


def _name(raw: bytes) -> str:
    return raw.decode("ascii", "replace") if len(raw) <= NODE_LIMIT_BYTES else ""
