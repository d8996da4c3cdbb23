"""What every keeper of keys owes the keyring; files are the only one so far."""

from pathlib import Path

import pytest

from edge_node.buffer.keyfiles import KeyFiles
from edge_node.buffer.keykeeper import KeyKeeper
from edge_node.errors import KeyUnavailable

CONTENT = b"a keyring, in words"


@pytest.fixture
def keeper(tmp_path: Path) -> KeyKeeper:
    return KeyFiles(tmp_path / "deep" / "keys")


def test_what_is_wrapped_comes_back_and_cannot_be_read_meanwhile(keeper: KeyKeeper) -> None:
    name = keeper.make()
    wrapped = keeper.wrap(name, CONTENT)
    assert CONTENT not in wrapped
    assert keeper.unwrap(name, wrapped) == CONTENT
    assert keeper.wrap(name, CONTENT) != wrapped, "the same content twice does not look the same"


def test_another_key_or_a_changed_byte_opens_nothing(keeper: KeyKeeper) -> None:
    name, other = keeper.make(), keeper.make()
    assert name != other
    wrapped = keeper.wrap(name, CONTENT)
    for key, content in ((other, wrapped), (name, wrapped[:-1] + bytes([wrapped[-1] ^ 1])), (name, b""), (name, b"x")):
        with pytest.raises(KeyUnavailable):
            keeper.unwrap(key, content)


def test_a_destroyed_key_is_gone_and_may_be_destroyed_again(keeper: KeyKeeper) -> None:
    name, other = keeper.make(), keeper.make()
    wrapped, kept = keeper.wrap(name, CONTENT), keeper.wrap(other, CONTENT)
    for _ in range(2):
        keeper.destroy(name)
    with pytest.raises(KeyUnavailable):
        keeper.unwrap(name, wrapped)
    with pytest.raises(KeyUnavailable):
        keeper.wrap(name, CONTENT)
    assert keeper.unwrap(other, kept) == CONTENT


def test_a_name_is_such_as_a_keyring_can_bear(keeper: KeyKeeper) -> None:
    name = keeper.make()
    assert len(name.encode()) <= 16
    assert name.isalnum()
