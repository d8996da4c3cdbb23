"""`cloud-hub labels export`: what physicians said of findings, for training, of those alone who agreed to research.

May be run while the hub serves.  Whose labels left, and the hash of what left, is in the audit trail before the file is
there: who takes their consent back later can be found in it.
"""

import argparse
import hashlib
import json
import os
import time
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection
from telemed.consent import Purpose

from cloud_hub.care import labels
from cloud_hub.care.labels import Judged
from cloud_hub.care.pseudonym import Project
from cloud_hub.config import HubConfig
from cloud_hub.errors import BadRequest, ConfigRefused
from cloud_hub.store import accounts, consents, finding_reviews, studies
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from cloud_hub.store.studies import Narrowing

OPERATOR_NAME = "command-line"
ACTION = "labels-export"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be asked to the parser of `labels`."""
    parser.add_argument("what", choices=["export"])
    parser.add_argument("--project", required=True, help="name of the set; the same name and key give the same names")
    parser.add_argument("--key-file", type=Path, required=True, help="the project's key, 32 bytes or more")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines; it must not be there yet")


def run(config: HubConfig, options: argparse.Namespace) -> list[str]:
    """Write the labels; return the lines to print.

    Raises:
        BadRequest: the key cannot be used, or the file is there already.
        ConfigRefused: the file cannot be written.
        StoreFailure: the database cannot be used.
    """
    project = _project(options.project, options.key_file)
    try:
        file = os.open(options.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise BadRequest(f"{options.out}: is there already", ["out"]) from error
    except OSError as error:
        raise ConfigRefused(f"{options.out}: {error.strerror}") from error
    try:
        with os.fdopen(file, "wb") as out:
            return _run(config, project, out)
    except BaseException:
        options.out.unlink(missing_ok=True)
        raise


def _run(config: HubConfig, project: Project, out: BinaryIO) -> list[str]:
    care = Database(config.store.care_url, CARE, "care")
    try:
        care.migrate()
        content, lines = care.write_blocking(lambda c: _export(c, config.region, project))
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
        return lines
    except OSError as error:
        raise ConfigRefused(f"{out.name}: {error.strerror}") from error
    finally:
        care.close()


def _export(connection: Connection, region: str, project: Project) -> tuple[bytes, list[str]]:
    """Return the labels and what to print, once the trail has whose they are."""
    now_ns = time.time_ns()
    found = list(labels.of_those_who_agreed(_judged(connection, region), _agreeing(connection, region, now_ns)))
    rows = [json.dumps(row, ensure_ascii=False) for one in found for row in labels.labels(project, one)]
    content = "".join(f"{row}\n" for row in sorted(rows)).encode()
    sha256 = hashlib.sha256(content).hexdigest()
    persons = sorted({one.person_id for one in found})
    targets = [f"labels/{sha256}", *(f"Patient/{one}" for one in persons)]
    accounts.write_audit(
        connection, *(AuditEntry(now_ns, OPERATOR_NAME, "system", ACTION, one, "ok", region) for one in targets)
    )
    return content, [sha256, f"{len(rows)} labels of {len(persons)} persons who agreed to research"]


def _agreeing(connection: Connection, region: str, now_ns: int) -> frozenset[str]:
    """Return who agreed to research and did not say no to being shown outside of their site."""
    agreed = consents.agreeing(connection, region, Purpose.RESEARCH, now_ns)
    return agreed - consents.refusing(connection, region, Purpose.SHARING)


def _judged(connection: Connection, region: str) -> list[Judged]:
    keys = frozenset(finding_reviews.studies_since(connection, region, 0))
    every = finding_reviews.of_studies(connection, keys)
    found = studies.studies(connection, region, Narrowing(study_keys=keys))
    return [
        Judged(one.person_id or "", one.study_uid, tuple(r for r in every if r.report.study_key == one.study_key))
        for one in found
    ]


def _project(name: str, key_file: Path) -> Project:
    try:
        return Project(name, key_file.read_bytes())
    except OSError as error:
        raise BadRequest(f"{key_file}: {error.strerror}", ["key-file"]) from error
    except ValueError as error:
        raise BadRequest(f"{key_file}: {error}", ["key-file"]) from error
