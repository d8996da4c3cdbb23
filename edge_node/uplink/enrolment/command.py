"""`edge-node enrol`: from a token to a certificate, once, before the node is started."""

import argparse
import sys
import time

from cryptography import x509
from telemed.enrolment import Token, node_of, parse_token
from telemed.topics import NodeAddress

from edge_node.config import EdgeConfig
from edge_node.errors import ConfigRefused, EnrolmentFailed
from edge_node.uplink.certificates import CertificateFolder, request_for
from edge_node.uplink.enrolment import door

NAME = "enrol"
FROM_INPUT = "-"
CLOCK_TOLD_NS = 60 * 10**9
"""A clock that is farther off is told of."""
NS = 10**9


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Give the parser of the command its arguments."""
    command.add_argument("token", metavar="TOKEN", help="the line of the operator's screen; - reads it from the input")


def run(config: EdgeConfig, asked: argparse.Namespace) -> list[str]:
    """Do the command; return what to print.

    Raises:
        ConfigRefused: the token is none, or is for another node, or there is no folder to put a certificate in.
        EnrolmentFailed: the hub refuses, or cannot be reached.
    """
    folder = config.uplink.certificates
    if folder is None:
        raise ConfigRefused(
            "uplink.certificates: name the folder for this node's certificate, e.g. certificates = 'pki'"
        )
    token = _token(sys.stdin.readline() if asked.token == FROM_INPUT else asked.token)
    address = NodeAddress(config.node.region, config.node.site, config.node.node)
    if token.address != address:
        raise ConfigRefused(f"the token is for {_named(token.address)}, this node is {_named(address)}: see [node]")
    return enrol(CertificateFolder(folder), token)


def enrol(folder: CertificateFolder, token: Token) -> list[str]:
    """Fetch the first certificate and put it in place; return what to tell people.

    Raises:
        EnrolmentFailed: the hub refuses, or cannot be reached, or its answer is not stored.
    """
    try:
        key = folder.key_for(token.secret)
    except (OSError, ValueError) as error:
        raise EnrolmentFailed("folder", f"{folder.folder}: no key can be kept there: {error}") from error
    hub = door.pinned(token)
    issued = hub.enrol(token.secret, request_for(key, token.address.node))
    certificate = x509.load_der_x509_certificate(issued.certificate_der)
    if node_of(certificate) != token.address or certificate.public_key() != key.public_key():
        raise EnrolmentFailed("answer", "the hub's answer is not a certificate of this node: nothing was stored")
    try:
        # The certificate last: with it goes the token's key, without which a second try is another machine's.
        folder.note_door(token.host, token.port)
        takes_models = folder.pin_models(issued.model_root)
        folder.take(key, certificate, list(issued.trust_der))
    except OSError as error:
        raise EnrolmentFailed("folder", f"{folder.folder}: the certificate cannot be stored: {error}") from error
    ahead_ns = time.time_ns() - issued.hub_unix_ns
    of_models = ["model bundles are believed by the root that came with it"] if takes_models else []
    return [f"enrolled as {_named(token.address)}, in {folder.folder}", *of_models, *_of_clock(ahead_ns)]


def _of_clock(ahead_ns: int) -> list[str]:
    if abs(ahead_ns) < CLOCK_TOLD_NS:
        return []
    which = "ahead of" if ahead_ns > 0 else "behind"
    return [f"this machine's clock is {abs(ahead_ns) // NS} s {which} the hub's: the node goes by the hub's time"]


def _token(text: str) -> Token:
    try:
        return parse_token(text)
    except ValueError as error:
        raise ConfigRefused(str(error)) from error


def _named(address: NodeAddress) -> str:
    return f"{address.region}/{address.site}/{address.node}"
