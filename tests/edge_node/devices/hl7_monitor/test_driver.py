"""The receiver over real sockets: fate and answer of good and bad input (reliability 4.4 rows 1 to 7)."""

import asyncio
import re

import pytest
from telemed.errors import Code

from edge_node.config import Hl7Config
from edge_node.devices.hl7_monitor import mllp
from edge_node.devices.hl7_monitor.devclock import MESSAGES_TO_KNOW
from edge_node.devices.hl7_monitor.driver import Hl7Monitor, Site
from edge_node.samples.measurement import Assignment, Quality
from tests.edge_node.devices.hl7_monitor.conftest import (
    DEVICE,
    EXAMPLE,
    EXAMPLE_SENT_NS,
    EXAMPLE_TEXT,
    SECOND_NS,
    StartRig,
)

pytestmark = pytest.mark.anyio


def altered(pattern: str, replacement: str, control_id: str = "") -> bytes:
    """The example with one part changed; the pattern must be there."""
    text, count = re.subn(pattern, lambda _match: replacement, EXAMPLE_TEXT, count=1)
    assert count == 1, pattern
    return text.replace("BS01-20261120-000417|P", f"{control_id or 'BS01-20261120-000417'}|P").encode()


def msa(answer: str) -> tuple[str, str]:
    fields = answer.split("\r")[1].split("|")
    assert fields[0] == "MSA"
    return fields[1], fields[2] if len(fields) > 2 else ""


async def test_the_example_is_stored_as_eight_values_and_answered_aa(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        answer = await line.ask(EXAMPLE)
    assert msa(answer) == ("AA", "BS01-20261120-000417")
    assert answer.startswith(
        "MSH|^~\\&|EDGE-GW|BAOSHAN-EDGE|QY-MON|BAOSHAN-CLINIC|20261120073015.250+0800||ACK^R01^ACK|"
    )
    assert answer.split("\r")[0].endswith("|P|2.6|||||CHN|UNICODE UTF-8")
    (numeric,) = running.store.sets
    told = {value.measure: value.value for value in numeric.values}
    assert told == {
        "hr": "112",
        "rr": "22",
        "spo2": "93",
        "pr_oxim": "112",
        "nibp_sys": "105",
        "nibp_dia": "62",
        "nibp_map": "76",
        "temp": "38.4",
    }
    assert running.store.values["nibp_sys"].measured_at_ns == 1_795_130_890 * SECOND_NS
    assert numeric.assignment is Assignment.BED
    assert not numeric.late


async def test_the_answer_leaves_only_after_deliver_has_returned(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        running.store.gate = asyncio.Event()
        await line.send(EXAMPLE)
        await running.store.waiting.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await line.reader.read(1)
        running.store.gate.set()
        assert msa(await line.answer())[0] == "AA"


async def test_a_message_sent_twice_is_stored_once_and_answered_twice(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        assert msa(await line.ask(EXAMPLE)) == msa(await line.ask(EXAMPLE))
    assert len(running.store.intakes) == 1
    assert running.monitor.counters.duplicates == 1


async def test_the_same_control_id_with_another_body_is_new_data_and_flagged(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        await line.ask(EXAMPLE)
        assert msa(await line.ask(altered(r"\|112\|", "|113|")))[0] == "AA"
    assert len(running.store.intakes) == 2
    assert running.store.sets[1].source_ref.endswith(";control-id-reused")


async def test_two_messages_in_one_packet_get_two_answers_in_order(rig: StartRig) -> None:
    second = altered(r"\|112\|", "|90|", "SECOND")
    async with rig() as running, running.line() as line:
        line.writer.write(mllp.wrap(EXAMPLE) + mllp.wrap(second))
        answers = [msa(await line.answer())[1] for _ in range(2)]
    assert answers == ["BS01-20261120-000417", "SECOND"]


async def test_a_message_may_come_byte_by_byte(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        framed = mllp.wrap(EXAMPLE)
        for at in range(0, len(framed), 97):
            line.writer.write(framed[at : at + 97])
            await line.writer.drain()
            await asyncio.sleep(0)
        assert msa(await line.answer())[0] == "AA"


async def test_a_frame_that_stalls_is_dropped_without_an_answer(rig: StartRig) -> None:
    async with rig(stall_s=0.05) as running, running.line() as line:
        line.writer.write(mllp.wrap(EXAMPLE)[:-2])
        while not running.monitor.counters.frame_faults:  # noqa: ASYNC110 - counters have no event
            await asyncio.sleep(0.01)
        assert running.monitor.counters.frame_faults == {"stalled": 1}
        assert msa(await line.ask(EXAMPLE))[0] == "AA"
    assert running.monitor.counters.answers == {"AA": 1}


async def test_an_idle_connection_is_closed(rig: StartRig) -> None:
    async with rig(idle_s=0.05) as running, running.line() as line:
        assert await line.reader.read() == b""


async def test_a_frame_over_the_limit_is_answered_ar_and_the_connection_closed(rig: StartRig) -> None:
    async with rig(frame_limit_kib=16) as running, running.line() as line:
        line.writer.write(b"\x0bMSH" + b"x" * 64 * 1024)
        assert msa(await line.answer())[0] == "AR"
        assert await line.reader.read() == b""
    assert running.store.intakes == []


async def test_a_message_without_msh_is_answered_ar_and_kept_raw(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        answer = await line.ask(b"PID|||1\r")
        wrong_signs = await line.ask(EXAMPLE.replace(b"^~\\&", b"^^\\&", 1))
    assert msa(answer)[0] == msa(wrong_signs)[0] == "AR"
    assert "ERR||MSH^1^0|100^" in answer
    assert [intake.raw_reason for intake in running.store.intakes] == [Code.MESSAGE_UNREADABLE] * 2
    assert running.store.intakes[0].raw == b"PID|||1\r"


@pytest.mark.parametrize("wrong", ["1e999", "NaN", "36,8", "inf", "0x10", "１１２"])
async def test_a_value_that_is_no_decimal_gives_ae_and_the_others_are_kept(rig: StartRig, wrong: str) -> None:
    async with rig() as running, running.line() as line:
        answer = await line.ask(altered(r"\|38\.4\|", f"|{wrong}|"))
    assert msa(answer)[0] == "AE"
    assert "ERR||OBX^14^5|102^Data type error^HL70357|E" in answer
    assert set(running.store.values) == {"hr", "rr", "spo2", "pr_oxim", "nibp_sys", "nibp_dia", "nibp_map"}
    assert running.store.intakes[0].raw_reason == Code.FIELD_ERROR


async def test_an_unknown_patient_is_stored_unassigned_with_an_identity_note(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        assert msa(await line.ask(altered("P-51018201-0093", "P-2")))[0] == "AA"
    (numeric,) = running.store.sets
    assert numeric.assignment is Assignment.UNASSIGNED
    assert numeric.claimed_patient_id == "P-2"
    notes = {note.condition: note.stands for note in running.store.intakes[0].notes}
    assert notes == {"identity": True, "clock": False}


async def test_the_identity_note_ends_when_the_right_person_is_named_again(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        await line.ask(altered("P-51018201-0093", "P-2"))
        await line.ask(altered("000417\\^QY", "000418^QY", "NEXT"))
        await line.ask(altered("000417\\^QY", "000419^QY", "LAST"))
    told = [[(note.condition, note.stands) for note in intake.notes] for intake in running.store.intakes[1:]]
    assert told == [[("identity", False)], []]


@pytest.mark.parametrize("year", ["1970", "2031"])
async def test_a_time_of_1970_or_the_future_is_stored_and_called_suspect(rig: StartRig, year: str) -> None:
    stamped = EXAMPLE_TEXT.replace("20261120", f"{year}1120").encode()
    async with rig() as running, running.line() as line:
        assert msa(await line.ask(stamped))[0] == "AA"
    (numeric,) = running.store.sets
    assert numeric.clock_suspect
    assert not numeric.late
    clock = running.monitor.clocks()["mon-b02"]
    assert (clock.is_suspect, clock.is_known, clock.offset_ms) == (True, False, 0)


@pytest.mark.parametrize("set_by_h", [3, -3])
async def test_what_a_monitor_measures_after_the_nodes_clock_was_set_stands_at_its_time(
    rig: StartRig, set_by_h: int
) -> None:
    """The node was hours off, so the monitor's right clock looked wrong; then the node hears the hub."""
    set_by_ns = set_by_h * 3600 * SECOND_NS
    async with rig(now_ns=EXAMPLE_SENT_NS - set_by_ns, steady_ns=lambda: 0) as running, running.line() as line:
        for number in range(MESSAGES_TO_KNOW):
            await line.ask(altered("000417\\^QY", f"{number:06}^QY", f"BEFORE-{number}"))
        assert running.monitor.clocks()["mon-b02"].offset_ms == -set_by_h * 3_600_000
        running.now_ns[0] += set_by_ns
        await line.ask(altered("000417\\^QY", "999999^QY", "AFTER"))
    numeric = running.store.sets[-1]
    assert abs(numeric.measured_at_ns - EXAMPLE_SENT_NS) < 60 * SECOND_NS
    assert (numeric.late, numeric.clock_suspect) == (False, False)
    clock = running.monitor.clocks()["mon-b02"]
    assert (clock.offset_ms, clock.is_known, clock.is_suspect) == (0, True, False)


async def test_old_data_keeps_its_times_and_is_late(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        running.now_ns[0] += 86_400 * SECOND_NS
        assert msa(await line.ask(EXAMPLE))[0] == "AA"
    (numeric,) = running.store.sets
    assert numeric.late
    assert numeric.measured_at_ns == 1_795_131_000 * SECOND_NS
    assert all(not note.stands for note in running.store.intakes[0].notes)


async def test_a_full_store_is_answered_ar_and_a_later_resend_is_stored(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        running.store.is_full = True
        answer = await line.ask(EXAMPLE)
        assert msa(answer)[0] == "AR"
        running.store.is_full = False
        assert msa(await line.ask(EXAMPLE))[0] == "AA"
    assert len(running.store.intakes) == 1


async def test_a_device_that_is_not_enrolled_is_refused_and_its_message_kept(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        answer = await line.ask(EXAMPLE.replace(b"0A1B2CFFFE3D4E5F", b"0A1B2CFFFE3D4E60"))
    assert msa(answer)[0] == "AR"
    assert [intake.raw_reason for intake in running.store.intakes] == [Code.DEVICE_UNKNOWN]
    assert running.store.sets == []


async def test_refused_messages_cannot_fill_the_store(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        for number in range(30):
            await line.ask(f"PID|||{number}\r".encode())
    assert len(running.store.intakes) == 10
    assert running.monitor.counters.raw_not_kept == 20


async def test_gb18030_is_read_strictly_and_a_wrong_charset_gives_ae_207(rig: StartRig) -> None:
    chinese = EXAMPLE_TEXT.replace("UNICODE UTF-8", "GB18030")
    async with rig() as running, running.line() as line:
        assert msa(await line.ask(chinese.encode("gb18030")))[0] == "AA"
        wrong = await line.ask(EXAMPLE_TEXT.encode("gb18030"))
    assert msa(wrong)[0] == "AE"
    assert "|207^" in wrong
    assert running.store.sets[0].assignment is Assignment.BED


async def test_one_connection_may_wait_while_another_is_served(rig: StartRig) -> None:
    async with rig() as running, running.line() as slow, running.line() as quick:
        slow.writer.write(mllp.wrap(EXAMPLE)[:100])
        await slow.writer.drain()
        assert msa(await quick.ask(EXAMPLE))[0] == "AA"


async def test_an_implausible_value_is_kept_and_marked(rig: StartRig) -> None:
    async with rig() as running, running.line() as line:
        assert msa(await line.ask(altered(r"\|38\.4\|", "|384|")))[0] == "AA"
    assert running.store.values["temp"].quality is Quality.IMPLAUSIBLE


async def test_the_first_message_with_a_code_without_a_measure_is_kept_whole(rig: StartRig) -> None:
    strange = altered("150364\\^MDC_TEMP_BODY", "150999^MDC_NEW")
    again = altered("150364\\^MDC_TEMP_BODY", "150999^MDC_OTHER", "SECOND")
    async with rig() as running, running.line() as line:
        assert msa(await line.ask(strange))[0] == msa(await line.ask(again))[0] == "AA"
    assert [intake.raw_reason for intake in running.store.intakes] == [Code.MEASURE_UNKNOWN, ""]
    assert running.store.intakes[0].raw == strange
    assert running.monitor.counters.unknown_measures == {150999: 2}


async def test_a_port_that_is_taken_is_an_os_error(rig: StartRig) -> None:
    async with rig() as running:
        config = Hl7Config(port=running.port)
        second = Hl7Monitor(config, (DEVICE,), Site(lambda _bed: None))
        with pytest.raises(OSError, match="in use"):
            await second.run(running.store.deliver)


async def test_cancelling_closes_the_port_and_every_connection(rig: StartRig) -> None:
    async with rig() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(mllp.wrap(EXAMPLE))
        await reader.readuntil(b"\x1c\r")
    assert await reader.read() == b""
    writer.close()
    assert not running.monitor.listening.is_set()
    assert running.monitor.counters.connections_open == 0
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", running.port)


async def test_a_failure_in_one_connection_leaves_the_others_alone(
    rig: StartRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig() as running, running.line() as bad, running.line() as good:
        assert msa(await good.ask(EXAMPLE))[0] == "AA"
        with monkeypatch.context() as patch:
            patch.setattr(running.monitor._desk, "take", None)
            await bad.send(EXAMPLE)
            assert await bad.reader.read() == b""
        assert msa(await good.ask(EXAMPLE))[0] == "AA"
