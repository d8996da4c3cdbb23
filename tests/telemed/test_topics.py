"""Topics: built and read back the same, and nothing else is read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemed.topics import CONNECTIONS, SHARDS, STORED, Down, NodeAddress, Up, parse_up

NAMES = st.from_regex(re.compile(r"[a-z0-9][a-z0-9-]{0,39}"), fullmatch=True)
ADDRESSES = st.builds(NodeAddress, NAMES, NAMES, NAMES)


@given(ADDRESSES, st.sampled_from(Up))
def test_an_upward_topic_is_read_back_as_it_was_built(address: NodeAddress, what: Up) -> None:
    assert parse_up(address.up(what)) == (address, what)
    assert 0 <= address.shard < SHARDS


@given(ADDRESSES)
def test_a_node_may_not_publish_under_another_shard(address: NodeAddress) -> None:
    forged = address.up(Up.VITALS).replace(f"up/{address.shard}/", f"up/{(address.shard + 1) % SHARDS}/", 1)
    with pytest.raises(ValueError, match="belongs to shard"):
        parse_up(forged)


@given(st.text(max_size=80))
def test_any_other_text_is_refused(topic: str) -> None:
    try:
        address, what = parse_up(topic)
    except ValueError:
        return
    assert address.up(what) == topic


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "a+", "#", "-a", "a" * 41, "宝山", "a\n"])
def test_names_hold_no_wildcard_separator_or_person(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        NodeAddress("baoshan", "clinic", name)


def test_the_shard_of_a_node_is_the_same_for_ever() -> None:
    assert [NodeAddress("r", "s", f"n{number}").shard for number in range(4)] == [6, 0, 10, 12]


def test_up_and_down_never_meet_and_every_stored_class_has_its_connection() -> None:
    address = NodeAddress("r", "s", "n")
    assert not any(address.down(what).startswith(address.up_prefix) for what in Down)
    assert set(CONNECTIONS) == set(STORED)
    assert len(set(CONNECTIONS.values())) == len(STORED)
