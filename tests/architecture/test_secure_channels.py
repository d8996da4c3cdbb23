"""What the channels of both sides speak at least: versions of TLS, and ciphers that are authenticated and ephemeral."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from telemed import dtls
from telemed.page_certificate import PageCertificate

from cloud_hub.access import device_ca, tls
from cloud_hub.access.ca_folder import LISTENERS, LISTENERS_KEY, open_folder
from cloud_hub.rpc.doorway import secured
from edge_node.uplink.certificates import CertificateFolder, private_pem
from tests.fakes.certificates import a_node_certificate
from tests.fakes.containers import CLINIC

AUTHORITY = device_ca.new_authority("baoshan")


def test_pages_speak_tls_1_2_at_least_and_1_3_where_the_browser_can(tmp_path: Path) -> None:
    key = device_ca.new_key()
    page = device_ca.for_pages(AUTHORITY, key.public_key(), ["home-7.local"], datetime.now(UTC))
    files = tmp_path / "page.pem", tmp_path / "page.key"
    files[0].write_bytes(page.public_bytes(Encoding.PEM))
    files[1].write_bytes(private_pem(key))
    context = PageCertificate(*files).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.maximum_version is ssl.TLSVersion.MAXIMUM_SUPPORTED
    names = [each["name"] for each in context.get_ciphers()]
    weak = [name for name in names if any(part in name for part in ("RC4", "3DES", "NULL", "MD5", "EXP", "anon"))]
    assert weak == []
    assert [name for name in names if not name.startswith(("TLS_", "ECDHE-"))] == [], "a key for each session"
    assert [name for name in names if "GCM" not in name and "CHACHA20-POLY1305" not in name.replace("_", "-")] == []


def test_both_ends_of_the_broker_s_connection_judge_the_other_s_certificate(tmp_path: Path) -> None:
    open_folder(tmp_path / "pki", "baoshan", ["127.0.0.1"], "hub")
    certificate, key = a_node_certificate(CLINIC, AUTHORITY)
    folder = CertificateFolder(tmp_path / "node")
    folder.folder.mkdir()
    folder.take(key, certificate, [AUTHORITY.certificate.public_bytes(Encoding.DER)])
    for context in (folder.tls(), tls.client(tmp_path / "pki")):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_datagrams_are_dtls_1_2_with_ephemeral_keys_and_authenticated_encryption() -> None:
    node = dtls.Channel(dtls.node_context(), is_hub=False)
    hub = dtls.Channel(dtls.hub_context(lambda _who: b"cookie", lambda _who, given: given == b"cookie"), is_hub=True)
    flight = node.take(hub.listen(node.begin(), "a")[1])[1]
    flight = node.take(hub.listen(flight, "a")[1])[1]
    node.take(hub.take(flight)[1])
    assert node.binding() == hub.binding()
    for end in (node, hub):
        assert end._connection.get_protocol_version_name() == "DTLSv1.2"
        assert end._connection.get_cipher_name() in (
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        )


@contextlib.contextmanager
def answering(credentials: grpc.ServerCredentials) -> Iterator[int]:
    """A gRPC port as the hub opens it; yields its number."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(None)


def speaking(newest: ssl.TLSVersion) -> ssl.SSLContext:
    """Return the context of a client that knows nothing newer, and takes every cipher and certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest
    return context


def version_agreed_on(port: int, newest: ssl.TLSVersion) -> str | None:
    """Return the version of TLS that a client gets; raises SSLError or ConnectionError where it gets none."""
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        speaking(newest).wrap_socket(plain) as channel,
    ):
        return channel.version()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("port_of", ["nodes", "door"])
def test_calls_of_nodes_are_tls_1_2_at_least_and_1_3_where_the_caller_can(tmp_path: Path, port_of: str) -> None:
    folder = open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub")
    shown = [(folder.pem(LISTENERS_KEY), folder.pem(LISTENERS))]
    credentials = secured(folder) if port_of == "nodes" else grpc.ssl_server_credentials(shown)
    with answering(credentials) as port:
        assert version_agreed_on(port, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            version_agreed_on(port, ssl.TLSVersion.TLSv1_1)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_the_old_client_of_that_test_would_be_heard_by_a_server_that_speaks_tls_1_1(tmp_path: Path) -> None:
    open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub")
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    lax.set_ciphers("ALL:@SECLEVEL=0")
    lax.minimum_version = ssl.TLSVersion.TLSv1
    lax.load_cert_chain(tmp_path / LISTENERS, tmp_path / LISTENERS_KEY)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        speaking(ssl.TLSVersion.TLSv1_1).wrap_bio(down, up),
        lax.wrap_bio(up, down, server_side=True),
    )
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    assert ends[0].version() == "TLSv1.1"
