"""`cloud-hub nodes list | invite | revoke`: who of the nodes may come in, from the command line of the hub's machine.

May be run while the hub serves: a revocation is seen by every process of the hub within seconds.
"""

import argparse
import io
from datetime import UTC, datetime

import segno
from telemed.enrolment import Token
from telemed.topics import NodeAddress

from cloud_hub import node_access
from cloud_hub.access import authorities
from cloud_hub.access.enrolment import Who
from cloud_hub.config import HubConfig
from cloud_hub.errors import BadRequest, ConfigRefused
from cloud_hub.store import node_certificates
from cloud_hub.store.engine import Database
from cloud_hub.store.node_certificates import CertificateRow
from cloud_hub.store.schema import CARE

OPERATOR = Who("command-line", "system")
NS = 10**9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands to the parser of `nodes`."""
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="say which nodes have certificates")
    invite = actions.add_parser("invite", help="make a one-time token for a node, good for 10 minutes")
    revoke = actions.add_parser("revoke", help="shut a node out at once; it needs a token to come back")
    revoke.add_argument("--reason", default="", help="for the audit trail")
    for command in (invite, revoke):
        command.add_argument("site")
        command.add_argument("node")


def run(config: HubConfig, options: argparse.Namespace) -> list[str]:
    """Do what was asked; return the lines to print.

    Raises:
        BadRequest: no such node, or its name is taken by another site's.
        ConfigRefused: the hub has no authority, or none yet, or one that cannot be used.
        StoreFailure: the database cannot be used.
    """
    if config.pki is None:
        raise ConfigRefused("[pki] is not in the configuration: nodes are known by the broker's secrets")
    known = node_access.look_at_authority(config, config.pki)
    # As they stand in the folder: one that is not taken in yet has no fingerprint to be known by.
    stored = authorities.listed(config.pki.folder)
    if not stored:
        raise ConfigRefused(f"pki.folder: {config.pki.folder} has no authority yet: start the hub once before")
    enrolment = node_access.enrolment(config, config.pki, known)
    database = Database(config.store.care_url, CARE, "care")
    try:
        database.migrate()
        if options.action == "list":
            rows = database.read_blocking(lambda c: node_certificates.of_region(c, config.region))
            return [_line(row) for row in rows]
        address = _address(config.region, options.site, options.node)
        if options.action == "revoke":
            count = database.write_blocking(lambda c: enrolment.revoke(c, OPERATOR, address, options.reason))
            return [f"{address.site}/{address.node}: {count} certificates revoked"]
        secret = database.write_blocking(lambda c: enrolment.invite(c, OPERATOR, address))
        token = Token(config.pki.names[0], config.pki.door_port, address, secret, stored[0].sha256)
        return [_drawn(token.text()), token.text()]
    finally:
        database.close()


def _address(region: str, site: str, node: str) -> NodeAddress:
    try:
        return NodeAddress(region, site, node)
    except ValueError as error:
        raise BadRequest(str(error), ["node"]) from error


def _drawn(text: str) -> str:
    """Return a QR code as characters."""
    drawn = io.StringIO()
    segno.make(text, error="m").terminal(drawn, compact=True)
    return drawn.getvalue()


def _line(row: CertificateRow) -> str:
    ends = datetime.fromtimestamp(row.ends_ns / NS, UTC).isoformat(timespec="seconds")
    state = f"revoked: {row.reason or '-'}" if row.revoked_ns else f"until {ends}"
    return f"{row.address.site:24} {row.address.node:24} {row.serial[:12]}  {state}"
