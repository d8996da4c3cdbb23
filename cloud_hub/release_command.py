"""`cloud-hub release FILE --to SITE/NODE`: let nodes fetch a file, such as a signed bundle of a model.

May be run while the hub serves.  The hub neither signs bundles nor looks into them: each node judges by its own root of
trust.  What was released is in the audit trail.
"""

import argparse
import asyncio
import time
from pathlib import Path

from sqlalchemy import Connection
from telemed.topics import NodeAddress
from telemed.transfer import NAME_LIMIT, FileKind

from cloud_hub.config import HubConfig
from cloud_hub.errors import BadRequest, ConfigRefused
from cloud_hub.store import accounts, releases
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE

OPERATOR_NAME = "command-line"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be asked to the parser of `release`."""
    parser.add_argument("file", type=Path)
    parser.add_argument("--to", action="append", required=True, metavar="SITE/NODE", help="may be given several times")
    parser.add_argument("--kind", choices=[str(kind) for kind in FileKind], default=str(FileKind.BUNDLE))
    parser.add_argument("--name", default="", help="for people; the file's own name when not given")


def run(config: HubConfig, options: argparse.Namespace) -> list[str]:
    """Release a file; return the lines to print.

    Raises:
        BadRequest: there is no such file, it cannot be read, or a node's name cannot be one.
        ConfigRefused: the folder of blobs cannot be used.
        StoreFailure: the database cannot be used.
    """
    nodes = [_address(config.region, each) for each in options.to]
    name = (options.name or options.file.name)[:NAME_LIMIT]
    _look_at(options.file)
    care = Database(config.store.care_url, CARE, "care")
    try:
        care.migrate()
        kind = FileKind(options.kind)

        def note(connection: Connection, sha256: str) -> None:
            entries = [
                AuditEntry(time.time_ns(), OPERATOR_NAME, "system", "release", f"{kind} {sha256}", name, each.site)
                for each in nodes
            ]
            accounts.write_audit(connection, *entries)

        blobs = Blobs(config.rpc.folder)
        sha256 = asyncio.run(releases.publish(care, blobs, options.file, nodes, (kind, name), note))
    except OSError as error:
        raise ConfigRefused(f"rpc.folder: {config.rpc.folder}: {error.strerror}") from error
    finally:
        care.close()
    return [f"{sha256}  {each.site}/{each.node}" for each in nodes]


def _look_at(file: Path) -> None:
    if not file.is_file():
        raise BadRequest(f"{file}: is not there", ["file"])
    try:
        file.open("rb").close()
    except OSError as error:
        raise BadRequest(f"{file}: cannot be read: {error.strerror}", ["file"]) from error


def _address(region: str, text: str) -> NodeAddress:
    site, _, node = text.partition("/")
    try:
        return NodeAddress(region, site, node)
    except ValueError as error:
        raise BadRequest(f"{text}: {error}", ["to"]) from error
