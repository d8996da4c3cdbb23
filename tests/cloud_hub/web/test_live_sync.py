"""How far the hub has what was measured at a bed, also of nodes that are silent or whose clock is wrong."""

from telemed.errors import Code
from telemed.v1 import uplink_pb2

from cloud_hub.web.live_sync import bed_sync, on_hub_clock_ns

HUB_NS = 1_800_000_000 * 10**9
HOUR_NS = 3600 * 10**9
S_NS = 10**9
KEY = "baoshan-clinic:B01"


def presence(node_ahead_ns: int = 0, *, tells: bool = True) -> uplink_pb2.Presence:
    return uplink_pb2.Presence(at_unix_ns=HUB_NS + node_ahead_ns, tells_behind=tells)


def test_a_bed_of_which_nothing_waits_is_caught_up_to_when_its_node_told() -> None:
    sync = bed_sync(KEY, ["mon-b01"], presence(), HUB_NS)
    assert (sync.caught_up_to_ms, sync.as_of_ms) == (HUB_NS // 10**6, HUB_NS // 10**6)
    assert (sync.waiting.vitals, sync.waiting.waves, sync.stuck) == (0, 0, [])


def test_what_waits_at_one_bed_is_not_told_of_another() -> None:
    told = presence()
    told.behind.add(device="mon-b01", numerics=180, waves=3, oldest_unix_ns=HUB_NS - 180 * S_NS)
    mine, other = bed_sync(KEY, ["mon-b01"], told, HUB_NS), bed_sync("s:B02", ["mon-b02"], told, HUB_NS)
    assert mine.caught_up_to_ms == (HUB_NS - 180 * S_NS - 1) // 10**6
    assert (mine.waiting.vitals, mine.waiting.waves) == (180, 3)
    assert (other.caught_up_to_ms, other.waiting.vitals) == (HUB_NS // 10**6, 0)


def test_the_slowest_device_of_a_bed_counts() -> None:
    told = presence()
    for device, age_s in (("mon-b01", 60), ("cuff", 300)):
        told.behind.add(device=device, numerics=1, oldest_unix_ns=HUB_NS - age_s * S_NS)
    sync = bed_sync(KEY, ["mon-b01", "cuff"], told, HUB_NS)
    assert (sync.caught_up_to_ms, sync.waiting.vitals) == ((HUB_NS - 300 * S_NS - 1) // 10**6, 2)


def test_a_node_whose_clock_is_an_hour_ahead_does_not_claim_that_hour() -> None:
    told = presence(HOUR_NS)
    assert bed_sync(KEY, [], told, HUB_NS).caught_up_to_ms == HUB_NS // 10**6
    told.behind.add(device="mon-b01", numerics=1, oldest_unix_ns=HUB_NS + HOUR_NS - 60 * S_NS)
    assert bed_sync(KEY, ["mon-b01"], told, HUB_NS).caught_up_to_ms == (HUB_NS - 60 * S_NS - 1) // 10**6


def test_no_time_lies_after_the_message_that_told_it() -> None:
    assert on_hub_clock_ns(HUB_NS + HOUR_NS, presence(), HUB_NS) == HUB_NS
    assert on_hub_clock_ns(0, presence(), HUB_NS) == 0


def test_of_a_node_that_does_not_tell_single_devices_nothing_is_claimed() -> None:
    assert bed_sync(KEY, ["mon-b01"], presence(tells=False), HUB_NS).caught_up_to_ms is None


def test_stuck_at_a_bed_is_what_names_it_or_its_device_or_concerns_all() -> None:
    told = presence()
    for code, what in (
        (Code.IDENTITY_MISMATCH, "B01 ×3"),
        (Code.IDENTITY_UNKNOWN, "B02 ×1"),
        (Code.CLOCK_SUSPECT, "mon-b01 +40 s"),
        (Code.KEY_CONFLICT, "mon-b01/numeric"),
        (Code.CONFIG_REFUSED, "edge.toml"),
        (Code.STORE_FULL, "96%"),
    ):
        told.stuck.add(code=code, what=what)
    codes = [one.code for one in bed_sync(KEY, ["mon-b01"], told, HUB_NS).stuck]
    assert codes == [Code.IDENTITY_MISMATCH, Code.CLOCK_SUSPECT, Code.KEY_CONFLICT, Code.STORE_FULL]
