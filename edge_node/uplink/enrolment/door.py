"""Calls at the hub's door for nodes without a valid certificate.

The door's certificate bears the whole of time and is judged by the pinned authority and by name, so that a node whose
clock shows 1970, or next century, gets in.
"""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from telemed.enrolment import MESSAGE_LIMIT_BYTES, REFUSALS, Token, is_issued_by
from telemed.v1 import enrolment_pb2, enrolment_pb2_grpc

from edge_node.errors import EnrolmentFailed, HubUnproved

CONNECT_LIMIT_S = 10.0
CALL_LIMIT_S = 15.0
UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Door:
    """Where the door is, and which authorities must have signed it."""

    host: str
    port: int
    trust_pem: bytes

    def enrol(self, secret: str, request_der: bytes) -> enrolment_pb2.Issued:
        """Return the first certificate; blocking.

        Raises:
            EnrolmentFailed: the hub refuses, or cannot be reached.
        """
        with self._stub() as stub, _translated():
            asked = enrolment_pb2.EnrolRequest(secret=secret, request_der=request_der)
            return stub.Enrol(asked, timeout=CALL_LIMIT_S)

    def renew(self, certificate_der: bytes, request_der: bytes, signature: bytes) -> enrolment_pb2.Issued:
        """Return the next certificate; blocking.

        Raises:
            HubUnproved: whoever answers there shows another authority than those that the node trusts.
            EnrolmentFailed: the hub refuses, or cannot be reached.
        """
        asked = enrolment_pb2.RenewRequest(
            certificate_der=certificate_der, request_der=request_der, signature=signature
        )
        try:
            with self._stub() as stub, _translated():
                return stub.Renew(asked, timeout=CALL_LIMIT_S)
        except EnrolmentFailed as failure:
            # gRPC says the same of a line that is cut and of a hub that it does not believe.
            if failure.reason == UNREACHABLE and self._shows_another():
                raise HubUnproved(
                    f"{self.host}:{self.port}: who answers there shows another authority than this node trusts; if the "
                    "hub's authority was changed while this node was away, enrol it anew"
                ) from failure
            raise

    def _shows_another(self) -> bool:
        try:
            shown = _shown_at(self.host, self.port)
            return bool(shown) and not is_issued_by(shown[0], x509.load_pem_x509_certificates(self.trust_pem))
        except (EnrolmentFailed, ValueError):
            return False

    @contextlib.contextmanager
    def _stub(self) -> Iterator["enrolment_pb2_grpc.EnrolmentStub"]:
        credentials = grpc.ssl_channel_credentials(self.trust_pem)
        options = [("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES), ("grpc.enable_http_proxy", 0)]
        host = f"[{self.host}]" if ":" in self.host else self.host
        with grpc.secure_channel(f"{host}:{self.port}", credentials, options=options) as channel:
            yield enrolment_pb2_grpc.EnrolmentStub(channel)


def pinned(token: Token) -> Door:
    """Return the door that a token names, with the authority that it pins; blocking.

    The authority's certificate comes from whoever answers there; it is believed because its hash stands in the token.

    Raises:
        HubUnproved: whoever answers does not show that authority.
        EnrolmentFailed: nobody answers.
    """
    for certificate in _shown_at(token.host, token.port):
        der = certificate.public_bytes(Encoding.DER)
        if sha256(der).digest() == token.ca_sha256:
            return Door(token.host, token.port, certificate.public_bytes(Encoding.PEM))
    raise HubUnproved(
        f"{token.host}:{token.port}: who answers there is not the hub that made this token; nothing was sent to it"
    )


def _shown_at(host: str, port: int) -> list[x509.Certificate]:
    """Return the certificates that a server shows, believing none of them."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_alpn_protos([b"h2"])
    try:
        with socket.create_connection((host, port), CONNECT_LIMIT_S) as opened:
            # pyOpenSSL wants a socket that blocks; the kernel bounds the wait instead.
            opened.settimeout(None)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL)
            connection = SSL.Connection(context, opened)
            connection.set_connect_state()
            connection.set_tlsext_host_name(host.encode("idna"))
            connection.do_handshake()
            return [each.to_cryptography() for each in connection.get_peer_cert_chain() or ()]
    except (OSError, SSL.Error, UnicodeError) as error:
        raise EnrolmentFailed(UNREACHABLE, f"{host}:{port} does not answer as a hub: {error}") from error


_TIMEVAL = int(CONNECT_LIMIT_S).to_bytes(8, "little") + bytes(8)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        status = error.code() if isinstance(error, grpc.Call) else None
        reason = (error.details() or "") if isinstance(error, grpc.Call) else ""
        if reason in REFUSALS:
            zh, en = REFUSALS[reason]
            raise EnrolmentFailed(reason, f"{en} / {zh}") from error
        raise EnrolmentFailed(UNREACHABLE, f"the hub's door does not answer: {status}") from error
