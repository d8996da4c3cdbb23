"""The keyring on disk, wrapped by a key of the keeper: two copies, because without it nothing can be read."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog
from telemed import whole_files
from telemed.whole_files import OWNER_ONLY

from edge_node.buffer.keykeeper import KeyKeeper
from edge_node.buffer.keyring import Keyring
from edge_node.errors import KeyUnavailable

MAGIC = b"YZK1"
NAME_BYTES = 16
COPY_ENDING, ASIDE = ".copy", ".aside-"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RingFile:
    """One keyring and the key that wraps it; blocking."""

    path: Path
    keeper: KeyKeeper
    wrapped_by: str = ""
    """Name of the key at the keeper; empty before the first `save`."""

    @property
    def copies(self) -> tuple[Path, Path]:
        """The two files."""
        return self.path, _copy(self.path)

    def exists(self) -> bool:
        """Return whether a keyring was ever written here."""
        return any(path.exists() for path in self.copies)

    def load(self) -> Keyring:
        """Return the keyring; a copy that is damaged is passed over.

        Raises:
            KeyUnavailable: no copy can be opened; nothing is changed.
        """
        reason = KeyUnavailable(f"{self.path.name}: is not there")
        for path in self.copies:
            try:
                return self._read(path)
            except KeyUnavailable as error:
                reason = error
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = KeyUnavailable(f"{path.name}: cannot be read: {error}")
        raise reason

    def save(self, ring: Keyring, wrapped_by: str = "") -> None:
        """Write the keyring down, on disk when this returns; under another key of the keeper if one is named.

        Raises:
            OSError, KeyUnavailable: the earlier one still is what `load` finds, or it is this one already.
        """
        name = wrapped_by or self.wrapped_by or self.keeper.make()
        try:
            content = MAGIC + name.encode().ljust(NAME_BYTES) + self.keeper.wrap(name, ring.packed())
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for path in self.copies:
                whole_files.write_whole(path, content, OWNER_ONLY)
        except (OSError, KeyUnavailable):
            self._abandon(name)
            raise
        self.wrapped_by = name

    def beside(self, label: str) -> Path:
        """Return where this keyring is set aside, told by a date; another place where that is taken."""
        path = self.path.with_name(f"{self.path.name}{ASIDE}{label}")
        return self.beside(f"{label}-again") if path.exists() or _copy(path).exists() else path

    def rename(self, path: Path) -> None:
        """Give both copies another name; the key that opens them stays where it is.

        Raises:
            OSError: they are not, or not both, renamed; asked again it goes on.
        """
        for old, new in zip(self.copies, (path, _copy(path)), strict=True):
            if old.exists():
                old.rename(new)
        whole_files.sync_folder(path.parent)

    def destroy_all(self, names: Iterable[str]) -> list[str]:
        """Destroy keys that wrapped this keyring before; return those that are still there."""
        left = []
        for name in names:
            try:
                if name != self.wrapped_by:
                    self.keeper.destroy(name)
            except OSError as error:
                log.warning("store.key-not-destroyed", why=error.strerror)
                left.append(name)
        return left

    def delete(self) -> None:
        """Delete a keyring that nothing needs any more, with the key that wraps it.

        Raises:
            OSError: something of it is still there.
        """
        # The key last: a keyring without it would lock the store.
        for path in self.copies:
            path.unlink(missing_ok=True)
        whole_files.sync_folder(self.path.parent)
        self.keeper.destroy(self.wrapped_by)

    def _abandon(self, name: str) -> None:
        """Destroy a key that was made in vain, unless it is the present one or a copy that was written names it."""
        with contextlib.suppress(OSError):
            mark = MAGIC + name.encode().ljust(NAME_BYTES)
            is_named = any(path.exists() and path.read_bytes().startswith(mark) for path in self.copies)
            if name != self.wrapped_by and not is_named:
                self.keeper.destroy(name)

    def _read(self, path: Path) -> Keyring:
        content = path.read_bytes()
        head = len(MAGIC) + NAME_BYTES
        if not content.startswith(MAGIC):
            raise ValueError("no keyring")
        name = content[len(MAGIC) : head].decode("ascii").strip()
        if not name.isalnum():
            raise ValueError("names no key")
        ring = Keyring.of(self.keeper.unwrap(name, content[head:]))
        self.wrapped_by = name
        return ring


def _copy(path: Path) -> Path:
    return path.with_name(path.name + COPY_ENDING)
