"""What is signed, as TUF has it: root, targets, a role for each task that signs manifests; snapshot and time stamp.

A folder with the metadata of every version.  Each signature says until when it is good; nodes refuse what is over and
what is older than they have seen, so this folder must not be set back.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from securesystemslib.signer import CryptoSigner
from telemed.bundle import NAME_PATTERN, Bundle, target
from telemed.bundle_archive import METADATA
from telemed.whole_files import write_whole
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from deploy.bundles.keys import KeyFolder

TOP = ("root", "targets", "snapshot", "timestamp")
GOOD_FOR = {"root": timedelta(days=3 * 365), "targets": timedelta(days=365)}
FRESH_FOR = timedelta(days=90)
"""Of snapshot and time stamp; a bundle that comes to a node later than this is refused there."""
READABLE = 0o644
S = TypeVar("S", Root, Snapshot, Targets, Timestamp)


class Unsigned(Exception):
    """What is asked for cannot be signed: no such task, or the repository is not there."""


class Repository:
    """One root of trust; blocking, for one process at a time."""

    def __init__(self, folder: Path, keys: KeyFolder) -> None:
        self._folder = folder / METADATA
        self._keys = keys

    def begin(self) -> None:
        """Make keys and first metadata.

        Raises:
            KeyUnusable: there are keys already.
            OSError: it cannot be written.
        """
        self._folder.mkdir(parents=True)
        self._keys.make(TOP)
        root = Root(expires=_until("root"), consistent_snapshot=True)
        for role in TOP:
            root.add_key(self._keys.signer(role).public_key, role)
        self._write("root", Metadata(root))
        self._write("targets", Metadata(Targets(expires=_until("targets"), delegations=Delegations({}, {}))))
        self._freshen()

    def add_task(self, task: str) -> None:
        """Let a task have bundles, signed by a key of its own.

        Raises:
            KeyUnusable: a key that must sign is not at hand; nothing was made.
            Unsigned: there is no repository, the task has a role, or the name cannot be a task's.
        """
        if task in TOP or not re.fullmatch(NAME_PATTERN, task):
            raise Unsigned(f"{task!r}: cannot be the name of a task")
        targets = self._latest("targets", Targets)
        delegations = targets.signed.delegations or Delegations({}, {})
        if task in self._tasks():
            raise Unsigned(f"{task}: may have bundles already")
        self._signers("targets")
        if not self._keys.has(_key_of(task)):
            self._keys.make([_key_of(task)])
        # Before the role that names it, so that no role is ever without metadata.
        self._write(task, Metadata(Targets(expires=_until("targets"))))
        role = DelegatedRole(task, [], 1, terminating=True, paths=[target(task, "*")])
        delegations.roles = {**(delegations.roles or {}), task: role}
        targets.signed.delegations = delegations
        targets.signed.add_key(self._keys.signer(_key_of(task)).public_key, task)
        self._renew(targets, "targets")
        self._freshen()

    def sign(self, bundle: Bundle) -> None:
        """Make a bundle the one that is current for its task; the one before is no longer taken by any node.

        Raises:
            KeyUnusable: the task's key is not at hand.
            Unsigned: the task has no role.
        """
        task = bundle.manifest.task
        if task not in self._tasks():
            raise Unsigned(f"{task}: nothing of that is signed, no role was made for it")
        signed = self._latest(task, Targets)
        fact = TargetFile.from_data(bundle.manifest.target, bundle.raw, ["sha256"])
        signed.signed.targets = {bundle.manifest.target: fact}
        self._signers(task)
        self._renew(signed, task)
        self._freshen()

    def replace_key(self, role: str) -> None:
        """Give root, targets, snapshot or timestamp a new key; nodes follow from the root that they know.

        The key before it goes last, when a root that names the new one is on disk: whatever stops this, either key
        can sign, and doing it again or `freshen` ends it.

        Raises:
            KeyUnusable: the key before it, or one that must sign, is not at hand; nothing was changed.
            Unsigned: there is no repository, or no such role.
        """
        if role not in TOP:
            raise Unsigned(f"{role}: only {', '.join(TOP)} have a key that the root names")
        root, signers = self._latest("root", Root), self._signers(role, "root")
        former, new = signers[role], self._keys.make_next(role)
        root.signed.revoke_key(former.public_key.keyid, role)
        root.signed.add_key(new.public_key, role)
        root.signed.version += 1
        root.signed.expires = _until("root")
        root.sign(signers["root"])
        if role == "root":
            # The root before vouches for the one after it, which vouches for itself.
            root.sign(new, append=True)
        self._keep("root", root)
        self._keys.follow(role)
        if role == "targets":
            self._renew(self._latest("targets", Targets), "targets")
        self._freshen()

    def freshen(self) -> None:
        """Sign targets, snapshot and time stamp anew, so that what is current stays so.

        Raises:
            KeyUnusable: a key that must sign is not at hand; nothing was changed.
            Unsigned: there is no repository.
        """
        self._signers("targets")
        self._renew(self._latest("targets", Targets), "targets")
        self._freshen()

    def root(self) -> bytes:
        """Return the newest root: what a node is given at its enrolment.

        Raises:
            Unsigned: there is no repository.
        """
        return self._latest("root", Root).to_bytes()

    def metadata(self, task: str) -> dict[str, bytes]:
        """Return what travels with a bundle of a task: every root, and the newest of everything else.

        Raises:
            Unsigned: there is no repository, or no such task.
        """
        newest = {f"{self._version(role)}.{role}.json" for role in ("targets", "snapshot", task)}
        names = {"timestamp.json", *newest, *(path.name for path in self._folder.glob("*.root.json"))}
        return {name: (self._folder / name).read_bytes() for name in names}

    def _freshen(self) -> None:
        """Sign a snapshot of the newest of everything, and a time stamp of that."""
        if self._versions("snapshot"):
            snapshot, stamp = self._latest("snapshot", Snapshot), self._latest("timestamp", Timestamp)
            snapshot.signed.version = self._version("snapshot") + 1
            stamp.signed.version += 1
        else:
            snapshot, stamp = Metadata(Snapshot()), Metadata(Timestamp())
        signed = ("targets", *self._tasks())
        snapshot.signed.meta = {f"{role}.json": MetaFile(self._version(role)) for role in signed}
        stamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
        snapshot.signed.expires, stamp.signed.expires = _until("snapshot"), _until("timestamp")
        self._write("snapshot", snapshot)
        self._write("timestamp", stamp)

    def _tasks(self) -> list[str]:
        """Return the tasks that have a role."""
        delegations = self._latest("targets", Targets).signed.delegations
        return list(delegations.roles or {}) if delegations is not None else []

    def _renew(self, signed: Metadata[S], role: str) -> None:
        signed.signed.version += 1
        signed.signed.expires = _until(role)
        self._write(role, signed)

    def _write(self, role: str, signed: Metadata[S]) -> None:
        signed.sign(self._signer(role))
        self._keep(role, signed)

    def _keep(self, role: str, signed: Metadata[S]) -> None:
        name = f"{role}.json" if role == "timestamp" else f"{signed.signed.version}.{role}.json"
        write_whole(self._folder / name, signed.to_bytes(), READABLE)

    def _signers(self, *roles: str) -> dict[str, CryptoSigner]:
        """Return what signs for some roles, and for snapshot and time stamp, which follow every change."""
        return {role: self._signer(role) for role in (*roles, "snapshot", "timestamp")}

    def _signer(self, role: str) -> CryptoSigner:
        """Return what signs for a role, with the key that the newest root names where a replacement was cut short."""
        if role not in TOP:
            return self._keys.signer(_key_of(role))
        next_key_id = self._keys.next_key_id(role)
        if next_key_id and next_key_id in self._latest("root", Root).signed.roles[role].keyids:
            self._keys.follow(role)
        return self._keys.signer(role)

    def _latest(self, role: str, kind: type[S]) -> Metadata[S]:
        version = self._version(role)
        name = f"{role}.json" if role == "timestamp" else f"{version}.{role}.json"
        found = Metadata[S].from_file(str(self._folder / name))
        if not isinstance(found.signed, kind):
            raise Unsigned(f"{name}: is no metadata of {role}")
        return found

    def _version(self, role: str) -> int:
        versions = self._versions(role)
        if not versions:
            raise Unsigned(f"{role}: nothing of that is signed in {self._folder}")
        return max(versions)

    def _versions(self, role: str) -> list[int]:
        if role == "timestamp":
            return [0] if (self._folder / "timestamp.json").exists() else []
        return [int(path.name.split(".")[0]) for path in self._folder.glob(f"*.{role}.json")]


def _key_of(task: str) -> str:
    return f"task-{task}"


def _until(role: str) -> datetime:
    good_for = FRESH_FOR if role in ("snapshot", "timestamp") else GOOD_FOR.get(role, GOOD_FOR["targets"])
    return datetime.now(UTC).replace(microsecond=0) + good_for
