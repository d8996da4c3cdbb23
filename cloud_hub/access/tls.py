"""TLS of what the hub opens for nodes and of its own connection to the broker: 1.3 alone, both sides by certificate."""

import ssl
from pathlib import Path

from cloud_hub.access.ca_folder import CLIENT, CLIENT_KEY, LISTENERS, LISTENERS_KEY, TRUSTED


def listener(folder: Path) -> ssl.SSLContext:
    """Return the context of a listener that lets in nobody without a certificate of the hub's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(folder / TRUSTED)
    context.load_cert_chain(folder / LISTENERS, folder / LISTENERS_KEY)
    context.verify_mode = ssl.CERT_REQUIRED
    # A session resumed by ticket would not show its certificate again.
    context.num_tickets = 0
    return context


def client(folder: Path) -> ssl.SSLContext:
    """Return the context by which the hub connects to its broker."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(folder / TRUSTED)
    context.load_cert_chain(folder / CLIENT, folder / CLIENT_KEY)
    return context
