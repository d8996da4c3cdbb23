"""Hides what the store holds of patients, and opens it again; may be asked from any thread.

What cannot be opened because its key is not there is locked: it is left as it is, never overwritten and never declared
damaged, until the key is back.  Meanwhile what comes in is sealed under a spare keyring, whose key lies in the store's
own folder: less safe, but nothing that a monitor sends is lost, and it is sealed anew once the key is back.
"""

import copy
import hashlib
import os
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge_node.buffer import envelope
from edge_node.buffer.keyfiles import KeyFiles
from edge_node.buffer.keymaker import KeyMaker
from edge_node.buffer.keyring import DAY_NS, DataKey, Keyring, Place
from edge_node.buffer.ringfile import ASIDE, COPY_ENDING, RingFile
from edge_node.errors import BufferFull, KeyUnavailable

RING, SPARE, SPARE_KEYS = "keyring", "keyring.spare", "spare-keys"
KEYS_ENDING, KEYS_INSIDE = "-keys", "keys"
LOCKED = 0
"""What `opened` returns for a value whose key is not there."""
LOOKUP_BYTES = 16
KEY_DAYS = 365
FALLBACK = Place("", 0)
"""There is always a key of this one, for what has none of its own where none can be written down."""
GIVEN_UP = 0
"""A generation before all others."""
LOST = "keys of this store are gone: put its keyring back from a backup"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a store is to be sealed."""

    folder: Path | None = None
    """Where the key files are; none: beside the store's folder."""
    is_on: bool = True
    """False: nothing new is sealed; what is sealed is still read."""
    days: int = KEY_DAYS
    """How old keys may become."""

    def key_folder(self, folder: Path) -> Path:
        """Return where the key files of the store in a folder are: beside it, unless nothing may be written there."""
        beside, inside = folder.with_name(folder.name + KEYS_ENDING), folder / KEYS_INSIDE
        if self.folder is not None:
            return self.folder
        may_be_beside = beside.exists() or os.access(folder.parent, os.W_OK)
        return inside if inside.exists() or not may_be_beside else beside


class Sealing:
    """The keys of one store, opened."""

    def __init__(self, *, is_on: bool, days: int = KEY_DAYS) -> None:
        """Hold no keys yet.

        Args:
            is_on: whether what comes in is sealed.
            days: how old keys may become.
        """
        self.is_on, self.days = is_on, days
        self.reason = ""
        """Why something that is stored cannot be opened, for the operator; empty where all can."""
        self._ring: Keyring | None = None
        self._file: RingFile | None = None
        self.set_aside: list[str] = []
        """Names of spare keyrings that could not be opened when another was begun, and cannot now."""
        self._spares: list[tuple[RingFile, Keyring]] = []
        """Of times when the key was not there."""
        self._newest: dict[Place, DataKey] = {}
        self._ciphers: dict[int, AESGCM] = {}
        self._ring_lock = threading.Lock()
        """Held by whoever changes the keyring, also while it is written: never by who seals or opens."""
        self._lock = threading.Lock()
        """Held for moments, never while a disk is asked; taken after the other."""
        self._used: set[int] = set()
        """Keys that something was sealed with since `begin_walk`."""
        self._seen: set[Place] = set()
        """Places that something was sealed for lately."""
        self._is_lending = False
        """Whether somebody was lent another key since keys were made last."""
        self._maker = KeyMaker(self._make)

    @classmethod
    def open(cls, folder: Path, keeping: Keeping, needed: Collection[int] = ()) -> "Sealing":
        """Open the keys of a store; its first keys are made.  Blocking.

        Args:
            folder: of the store.
            keeping: where the keys are, and whether what comes in is sealed.
            needed: ids of keys that what is stored stands under; where one is not there, some were lost.

        Raises:
            BufferFull: no keys can be written down.
        """
        main, spare = _main(folder, keeping), _spare(folder)
        found = cls.reading(folder, keeping)
        if keeping.is_on and not main.exists() and not found.misses(needed):
            # Else the name stays free for the keyring from a backup, and this is begun as the spare one.
            reason = _begin(main)
            found = cls.reading(folder, keeping)
            found.reason = found.reason or reason
        if keeping.is_on and not found.has_keys:
            # A keyring that cannot be opened stays as it is, and this is another file.
            reason = _set_aside(spare) or _begin(spare)
            if reason:
                raise BufferFull(reason)
            found.take(spare, spare.load())
            found.note_set_aside(_asides(folder))
        if found.misses(needed) and not found.reason:
            found.note_lost()
        found.mend()
        return found

    @classmethod
    def reading(cls, folder: Path, keeping: Keeping) -> "Sealing":
        """Open the keys that are there, and change nothing; for who looks at a store from outside.  Blocking."""
        found = cls(is_on=keeping.is_on, days=keeping.days)
        for file in (_main(folder, keeping), _spare(folder), *_asides(folder)):
            if not file.exists():
                continue
            try:
                found.take(file, file.load())
            except KeyUnavailable as error:
                log.error("store.locked", why=str(error))
                found.reason = found.reason or str(error)
                found.set_aside += [file.path.name] if ASIDE in file.path.name else []
        return found

    def take(self, file: RingFile, ring: Keyring) -> None:
        """Use a keyring; the first is the one that new keys come from."""
        for key in ring.keys.values():
            self._ciphers[key.key_id] = AESGCM(key.secret)
        if self._ring is not None:
            self._spares.append((file, ring))
            return
        self._file = file
        self._install(ring)
        self.reason = self.reason or (LOST if ring.has_lost else "")

    def mend(self) -> None:
        """Finish a change of keys of which the node was killed: before both copies, or before the keys' destruction."""
        if self._ring is None or self._file is None or not self._ring.retired:
            return
        try:
            self._file.save(self._ring)
        except (OSError, KeyUnavailable) as error:
            log.warning("store.keys-not-destroyed", why=str(error))
        else:
            self._ring.retired = self._file.destroy_all(self._ring.retired)

    @property
    def has_keys(self) -> bool:
        """Whether something can be sealed."""
        return self._ring is not None

    @property
    def key_count(self) -> int:
        """How many keys there are to what is stored."""
        return len(self._ciphers)

    @property
    def made_ns(self) -> int:
        """When the present keys were begun; 0 where there are none."""
        return self._ring.made_ns if self._ring is not None else 0

    @property
    def owes_keys(self) -> bool:
        """Whether the last keys that were asked for could not be made."""
        return self._maker.has_failed

    def seal(self, place: Place, content: bytes, about: str) -> bytes:
        """Return content as it is to be stored.

        Args:
            place: what shares its key.
            content: what to hide.
            about: what it belongs to: table and identity, as `opened` is asked for it.

        Raises:
            BufferFull: there is no key and none can be written down.
        """
        if not self.is_on:
            return content
        key = self._used_for(place) or self._new_for(place)
        return envelope.seal(self._ciphers[key.key_id], key.key_id, content, about.encode())

    def prepare(self, now_ns: int) -> None:
        """Have tomorrow's keys made for whatever was sealed today, and those that are owed; returns at once."""
        today = day_of(now_ns)
        with self._lock:
            self._seen = {place for place in self._seen if place.day >= today}
            wanted = self._seen | {Place(place.scope, today + 1) for place in self._seen if place.day == today}
            own = self._ring.newest().keys() if self._ring is not None and self.is_on else wanted
        self._maker.ask(wanted - own)

    def opened(self, about: str | None, stored: object) -> bytes | int | None:
        """Return what a stored value says: as it is where it is open, LOCKED, or None where it is damaged."""
        if not isinstance(stored, bytes):
            return None
        if not envelope.is_sealed(stored):
            return stored
        cipher = self._ciphers.get(envelope.key_id_of(stored) or 0)
        if cipher is None:
            return LOCKED if self.reason else None
        return envelope.unseal(cipher, stored, (about or "").encode())

    def may_be_sealed(self, stored: bytes) -> bool:
        """Return whether a value that `opened` did not open may be sealed, where only its first byte says so.

        Of a key that is not here while none is missing nothing can be sealed; one that is here fits nothing by chance.
        """
        is_long = len(stored) >= envelope.OVERHEAD_BYTES
        return is_long and (bool(self.reason) or envelope.key_id_of(stored) in self._ciphers)

    def hidden(self, name: bytes) -> bytes:
        """Return what something is known by, so that nobody without the key can try contents against it."""
        if not self.is_on or self._ring is None:
            return name
        return hashlib.blake2b(name, key=self._ring.lookup, digest_size=LOOKUP_BYTES).digest()

    def is_present(self, stored: bytes) -> bool:
        """Return whether a value is stored as one would be stored now; its first PREFIX_BYTES are enough."""
        key_id = envelope.key_id_of(stored)
        if not self.is_on or key_id is None:
            return not self.is_on
        return key_id not in self._ciphers or self._is_newest(key_id)

    def note_set_aside(self, asides: Iterable[RingFile]) -> None:
        """Note which of the keyrings that were set aside cannot be opened."""
        is_open = {file.path for file, _ in self._spares}
        self.set_aside = [file.path.name for file in asides if file.path not in is_open]

    def note_lost(self) -> None:
        """Note, for good, that this keyring is not the first of the store, and that the keys of that are gone.

        Raises:
            BufferFull: it is not written down.
        """
        with self._ring_lock:
            if self._ring is not None and self._file is not None:
                self._ring.has_lost = True
                try:
                    self._file.save(self._ring)
                except (OSError, KeyUnavailable) as error:
                    raise BufferFull(f"keyring: {error}") from error
        self.reason = LOST
        log.error("store.locked", why=LOST)

    def misses(self, needed: Collection[int]) -> bool:
        """Return whether keys were lost: one of these is not there, or that was noted before."""
        return not self._ciphers.keys() >= set(needed) or (self._ring is not None and self._ring.has_lost)

    def begin_walk(self) -> None:
        """Note from now on which keys are used: `forget_unused` spares them."""
        self._used = set()

    def forget_unused(self, met: set[int], before_day: int) -> int:
        """Forget keys that nothing needs any more, after all rows were looked at; return how many.

        Args:
            met: ids of the keys that rows were met under.
            before_day: keys of this day and later stay, as somebody may be about to use them; so do those for all days.

        Raises:
            OSError, KeyUnavailable: they are not forgotten.
        """
        with self._ring_lock:
            if self._ring is None or self._file is None:
                return 0
            ring, file = copy.deepcopy(self._ring), self._file
            with self._lock:
                keep, gone = self._used | met, _unused(ring, self._used | met, before_day)
                # From now on nobody seals with one of them.
                self._newest = {place: key for place, key in self._newest.items() if key.key_id not in gone}
            for key_id in gone:
                del ring.keys[key_id]
            is_whole = ring.has_lost and met <= self._ciphers.keys()
            ring.has_lost = ring.has_lost and not is_whole
            if gone or is_whole:
                # Until the next start they still open what somebody is reading just now.
                self._save(file, ring)
            # Before the spares, which may stay: asked again, nothing would tell that all are there.
            self.reason = "" if is_whole else self.reason
            self._forget_spares(keep)
            return len(gone)

    def rotate(self, now_ns: int) -> None:
        """Begin a new generation of keys, wrapped by a new key of the keeper; the one before is destroyed.

        Old rows stay readable and are sealed anew in the background (`resealing`), after which their keys go.

        Raises:
            OSError, KeyUnavailable: everything is as it was.
        """
        with self._ring_lock:
            ring, _ = self._changing()
            ring.generation, ring.made_ns = ring.generation + 1, now_ns
            ring.add([FALLBACK])
            self._wrap_anew(ring)
        log.info("store.keys-changed", generation=ring.generation)

    def give_up(self, places: Iterable[Place], key_ids: Collection[int] = ()) -> None:
        """Use the keys of some places no more: what stands under them is sealed anew, then they are forgotten.

        Args:
            places: what shares the keys.
            key_ids: more keys, whatever they were made for.

        Raises:
            OSError, KeyUnavailable: everything is as it was.
        """
        gone = set(places)
        with self._ring_lock:
            ring, file = self._changing()
            for key in ring.keys.values():
                if key.place in gone or key.key_id in key_ids:
                    ring.keys[key.key_id] = key._replace(generation=GIVEN_UP)
            ring.add(gone & {FALLBACK})
            self._save(file, ring)

    def destroy_former(self) -> None:
        """Have nobody open a keyring of before, wherever a copy of it may be left on the disk.

        Raises:
            OSError, KeyUnavailable: the key of before may still be there.
        """
        with self._ring_lock:
            ring, _ = self._changing()
            self._wrap_anew(ring)
            if ring.retired:
                raise KeyUnavailable("a key that wrapped the keyring cannot be destroyed")

    def _changing(self) -> tuple[Keyring, RingFile]:
        """Return a copy of the keyring to be changed, and its file; the lock of the ring is held."""
        if self._ring is None or self._file is None:
            raise KeyUnavailable("there is no keyring to change")
        return copy.deepcopy(self._ring), self._file

    def _wrap_anew(self, ring: Keyring) -> None:
        """Write a keyring down under a new key of the keeper, destroy the one before, and use it; its lock is held."""
        assert self._file is not None
        # Where the present key is not there, its medium is not either, and a new one would go to the wrong disk.
        self._file.keeper.wrap(self._file.wrapped_by, b"")
        ring.retired = [*ring.retired, self._file.wrapped_by]
        self._file.save(ring, self._file.keeper.make())
        self._install(ring)
        ring.retired = self._file.destroy_all(ring.retired)

    def _save(self, file: RingFile, ring: Keyring) -> None:
        """Write a keyring down and use it, or go on with the present one; the lock of the ring is held."""
        try:
            file.save(ring)
        except (OSError, KeyUnavailable):
            assert self._ring is not None
            self._install(self._ring)
            raise
        self._install(ring)

    def _install(self, ring: Keyring) -> None:
        with self._lock:
            for key in ring.keys.values():
                if key.key_id not in self._ciphers:
                    self._ciphers[key.key_id] = AESGCM(key.secret)
            self._ring, self._newest = ring, ring.newest()

    def _is_newest(self, key_id: int) -> bool:
        key = self._ring.keys.get(key_id) if self._ring is not None else None
        return key is not None and self._ring is not None and key.generation == self._ring.generation

    def _used_for(self, place: Place) -> DataKey | None:
        """Return the key of a place, noted as used before it is, so that `forget_unused` cannot come in between."""
        with self._lock:
            key = self._newest.get(place)
            if key is not None:
                self._used.add(key.key_id)
                if place.day:
                    self._seen.add(place)
            return key

    def _new_for(self, place: Place) -> DataKey:
        """Return the key of a place that had none, on disk by now; another one where that takes too long or fails."""
        if self._ring is None:
            raise BufferFull("the store has no keys")
        self._maker.ask({place})
        self._maker.wait()
        while True:
            key = self._used_for(place)
            if key is not None:
                return key
            self._lend(place)

    def _lend(self, place: Place) -> None:
        """Let a place use another key for now: a full disk, or a medium that hangs, must not silence the alarms."""
        with self._lock:
            same = [key for key in self._newest.values() if key.place.scope == place.scope]
            lent = max(same, key=lambda each: each.place.day) if same else self._newest[FALLBACK]
            self._newest.setdefault(place, lent)
            is_first, self._is_lending = not self._is_lending, True
        if is_first:
            log.warning("store.key-lent", day=place.day)

    def _make(self, places: set[Place]) -> str:
        """Make the keys of places that have none, and use them once they are on disk; return why they are not."""
        with self._ring_lock:
            ring, file = self._changing()
            known = ring.newest()
            # Whoever sent yesterday sends today: one writing for all of them.
            others = {
                Place(each.scope, place.day) for place in places for each in known if 0 < each.day == place.day - 1
            }
            ring.add((places | others) - known.keys())
            try:
                self._save(file, ring)
            except (OSError, KeyUnavailable) as error:
                return str(error)
            self._is_lending = False
            return ""

    def _forget_spares(self, keep: set[int]) -> None:
        for file, ring in list(self._spares):
            if not keep & ring.keys.keys():
                file.delete()
                self._spares.remove((file, ring))
                log.info("store.spare-keys-deleted", file=file.path.name)


def _unused(ring: Keyring, keep: set[int], before_day: int) -> set[int]:
    """Return the ids of keys that nothing needs: of earlier generations, or of days before one."""
    old = ring.old()
    return {
        key.key_id
        for key in ring.keys.values()
        if key.key_id not in keep and (key.key_id in old or 0 < key.place.day < before_day)
    }


def _begin(file: RingFile) -> str:
    """Make a keyring with a key for whatever has none of its own; return why that cannot be done, empty where it is."""
    ring = Keyring(time.time_ns())
    ring.add([FALLBACK])
    try:
        file.save(ring)
    except (OSError, KeyUnavailable) as error:
        log.error("store.keys-not-made", why=str(error))
        return f"{file.path.name}: no key can be made for it: {error}"
    return ""


def _set_aside(file: RingFile) -> str:
    """Give a keyring that cannot be opened another name: its key may be found; return why that cannot be done."""
    if not file.exists():
        return ""
    aside = file.beside(time.strftime("%Y%m%d-%H%M%S"))
    try:
        file.rename(aside)
    except OSError as error:
        return f"{file.path.name}: cannot be set aside: {error}"
    log.error("store.spare-keys-set-aside", file=aside.name)
    return ""


def day_of(at_ns: int) -> int:
    """Return the day of a time, in days since 1970."""
    return at_ns // DAY_NS


def _main(folder: Path, keeping: Keeping) -> RingFile:
    return RingFile(folder / RING, KeyFiles(keeping.key_folder(folder)))


def _spare(folder: Path) -> RingFile:
    return RingFile(folder / SPARE, KeyFiles(folder / SPARE_KEYS))


def _asides(folder: Path) -> list[RingFile]:
    """Return the spare keyrings that could not be opened when another was begun, oldest first."""
    found = folder.glob(f"{SPARE}{ASIDE}*")
    names = sorted({path.with_name(path.name.removesuffix(COPY_ENDING)) for path in found})
    return [RingFile(path, KeyFiles(folder / SPARE_KEYS)) for path in names]
