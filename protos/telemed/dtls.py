"""DTLS 1.2 as both sides of the alarms' datagram path speak it: the profile, and one end of a channel in memory.

The library is pyOpenSSL.  It moves bytes between memory and OpenSSL; sockets, repeats and time are the caller's.
OpenSSL's own repeat timer starts at a second and doubles, so callers repeat their last flight themselves.
"""

import contextlib
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from telemed.datagram import BODY_LIMIT_BYTES, DATAGRAM_LIMIT_BYTES, ENVELOPE_BYTES

CIPHERS = b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"
"""Ephemeral keys and authenticated encryption alone."""
BINDING_LABEL = b"EXPORTER-yuanzhen-datagram"
BINDING_BYTES = 32
_OPTIONS = SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU | SSL.OP_NO_COMPRESSION
_READ_BYTES = 65536
_DTLS_1_2 = 0xFEFD
_LIFE = timedelta(days=3650)

Cookie = Callable[[object], bytes]
"""Return the cookie of whoever asks; what it is called with is given to `Channel.listen`."""


class ChannelBroken(Exception):
    """The other end closed the channel, or what it said cannot belong to a handshake of ours."""


def node_context() -> SSL.Context:
    """Return the profile of a node's end; the hub is known by its proof, not by its certificate."""
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    _profile(context)
    context.set_verify(SSL.VERIFY_NONE)
    return context


def hub_context(cookie: Cookie, is_cookie: Callable[[object, bytes], bool]) -> SSL.Context:
    """Return the profile of the hub's end, with a key and certificate made for the life of this process."""
    context = SSL.Context(SSL.DTLS_SERVER_METHOD)
    _profile(context)
    key = ec.generate_private_key(ec.SECP256R1())
    context.use_certificate(_certificate(key))
    context.use_privatekey(key)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cookie_generate_callback(lambda connection: cookie(connection.get_app_data()))
    context.set_cookie_verify_callback(lambda connection, given: is_cookie(connection.get_app_data(), given))
    return context


class Channel:
    """One end of a DTLS channel."""

    def __init__(self, context: SSL.Context, *, is_hub: bool) -> None:
        self._connection = SSL.Connection(context)
        self._is_hub = is_hub
        self.is_established = False
        """Whether the handshake is done on this end."""
        if is_hub:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
        self._connection.set_ciphertext_mtu(DATAGRAM_LIMIT_BYTES - ENVELOPE_BYTES)

    def begin(self) -> bytes:
        """Start a node's handshake; return its first flight."""
        self._shake()
        return self._flight()

    def listen(self, records: bytes, who: object) -> tuple[bool, bytes]:
        """Answer a client hello without keeping anything (hub).

        Returns:
            Whether it brought our cookie back, so that this channel is now theirs and must not listen any more;
            and the flight to answer with, empty for nonsense.
        """
        connection = self._connection
        connection.set_app_data(who)
        connection.bio_write(records)
        try:
            connection.DTLSv1_listen()
        except SSL.Error:
            return False, self._flight()
        self._shake()
        return True, self._flight()

    def take(self, records: bytes) -> tuple[list[bytes], bytes]:
        """Take in the records of one datagram; return the messages in them and the flight to answer with.

        Both are empty for records that were altered, forged, repeated or of another channel.

        Raises:
            ChannelBroken: the channel has ended and is of no more use.
        """
        if not self.is_established:
            self._leave_repeating_to_callers()
        self._connection.bio_write(records)
        if not self.is_established:
            self._shake()
        return (self._messages() if self.is_established else []), self._flight()

    def seal(self, message: bytes) -> bytes:
        """Return the record that carries a message.

        Raises:
            ValueError: the message does not fit a datagram.
            ChannelBroken: the channel has ended.
        """
        if len(message) > BODY_LIMIT_BYTES + 1:
            raise ValueError(f"a message of {len(message)} bytes does not fit a datagram")
        try:
            self._connection.send(message)
        except SSL.Error as error:
            raise ChannelBroken(str(error)) from error
        return self._flight()

    def binding(self) -> bytes:
        """Return what only the two ends of this channel have in common, certificate included."""
        exported = self._connection.export_keying_material(BINDING_LABEL, BINDING_BYTES)
        certificate = self._connection.get_certificate() if self._is_hub else self._connection.get_peer_certificate()
        shown = certificate.to_cryptography().public_bytes(Encoding.DER) if certificate else b""
        return exported + hashlib.sha256(shown).digest()

    def _leave_repeating_to_callers(self) -> None:
        """Throw away what OpenSSL would say again by its own timer.

        It would stand before the next flight, and a client hello without its cookie before the one that brings it
        back makes the hub answer the former.
        """
        with contextlib.suppress(SSL.Error):
            self._connection.DTLSv1_handle_timeout()
        self._flight()

    def _shake(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            raise ChannelBroken(str(error)) from error
        self.is_established = True

    def _messages(self) -> list[bytes]:
        messages = []
        try:
            while True:
                messages.append(self._connection.recv(DATAGRAM_LIMIT_BYTES))
        except SSL.WantReadError:
            return [message for message in messages if message]
        except SSL.Error as error:
            raise ChannelBroken(str(error)) from error

    def _flight(self) -> bytes:
        try:
            return self._connection.bio_read(_READ_BYTES)
        except SSL.WantReadError:
            return b""


def cookie_for(key: bytes, who: bytes) -> bytes:
    """Return the stateless cookie of whoever asks, under a key of the hub's."""
    return hmac.digest(key, who, "sha256")


def _profile(context: SSL.Context) -> None:
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.set_cipher_list(CIPHERS)
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + _LIFE)
    return builder.sign(key, hashes.SHA256())
