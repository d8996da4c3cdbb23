"""Field rules of clinical 3.1: one test a rule."""

from dataclasses import replace
from datetime import timedelta, timezone

import numpy as np
import pytest

from edge_node.config import DeviceConfig
from edge_node.devices.hl7_monitor import observations
from edge_node.devices.hl7_monitor.admission import Admitted, Refusal, admit
from edge_node.devices.hl7_monitor.devclock import DeviceClock
from edge_node.devices.hl7_monitor.frames import parse
from edge_node.devices.hl7_monitor.identity import Occupant
from edge_node.devices.hl7_monitor.observations import Reading, Surroundings
from edge_node.samples.measurement import Assignment, Quality, Value
from tests.edge_node.devices.hl7_monitor.conftest import (
    DEVICE,
    EXAMPLE,
    EXAMPLE_SENT_NS,
    EXAMPLE_TEXT,
    OCCUPANT,
    SECOND_NS,
)

CHINA = timezone(timedelta(hours=8))
HEAD = "\r".join(EXAMPLE_TEXT.split("\r")[:4]) + "\r"
AROUND = Surroundings(EXAMPLE_SENT_NS, CHINA, 1800, DeviceClock(), OCCUPANT, frozenset())


def read(text: str, around: Surroundings = AROUND, device: DeviceConfig = DEVICE) -> Reading:
    message = parse(text.encode())
    admitted = admit(message, [device])
    assert isinstance(admitted, Admitted), admitted
    return observations.read(message, admitted, around, text.encode())


def value_of(obx: str) -> Value:
    (part,) = read(HEAD + f"OBX|1|{obx}\r").intake.sets
    (value,) = part.values
    return value


def heart_rate(value: str = "112", flags: str = "", status: str = "R", kind: str = "NM") -> str:
    return f"{kind}|147842^MDC_ECG_HEART_RATE^MDC|1.1.1.1|{value}|264864^MDC_DIM_BEAT_PER_MIN^MDC||{flags}|||{status}"


@pytest.mark.parametrize(
    ("flags", "quality"),
    [
        ("", "valid"),
        ("H", "valid"),
        ("HH~PH", "valid"),
        ("INV", "implausible"),
        ("QUES", "questionable"),
        ("NAV", "missing"),
    ],
)
def test_flags_of_obx_8_become_quality(flags: str, quality: str) -> None:
    assert value_of(heart_rate(flags=flags)).quality == quality


@pytest.mark.parametrize(
    ("status", "quality", "kept"),
    [("R", "valid", "R"), ("F", "valid", "F"), ("C", "valid", "C"), ("W", "retracted", "W"), ("D", "retracted", "D")],
)
def test_states_of_obx_11_are_kept_and_retractions_marked(status: str, quality: str, kept: str) -> None:
    value = value_of(heart_rate(status=status))
    assert (value.quality, value.status) == (quality, kept)


@pytest.mark.parametrize(("value", "status"), [("", "R"), ("112", "X"), ('""', "X")])
def test_a_metric_without_a_result_is_missing(value: str, status: str) -> None:
    got = value_of(heart_rate(value, status=status))
    assert (got.quality, got.value) == (Quality.MISSING, "")


@pytest.mark.parametrize("text", ["112", "112.0", "98.06", "0.50", ".5"])
def test_the_decimal_is_kept_exactly(text: str) -> None:
    assert value_of(heart_rate(text)).value == text


def test_other_units_are_converted_and_the_raw_value_kept() -> None:
    value = value_of("NM|150021^MDC_PRESS_BLD_NONINV_SYS^MDC|1.1.1.1|14.0|265987^MDC_DIM_KILO_PASCAL^MDC|||||R")
    assert (value.value, value.unit) == ("105.01", "mm[Hg]")
    assert (value.raw_value, value.raw_unit) == ("14.0", "kPa")


def test_ucum_units_are_taken() -> None:
    value = value_of("NM|150364^MDC_TEMP_BODY^MDC|1.1.1.1|101.3|[degF]^[degF]^UCUM|||||R")
    assert value.value == "38.500"


@pytest.mark.parametrize(("unit", "code"), [("", "101"), ("999999^X^MDC", "103"), ("mL", "103")])
def test_a_missing_or_unknown_unit_is_never_guessed(unit: str, code: str) -> None:
    reading = read(HEAD + f"OBX|1|NM|150364^MDC_TEMP_BODY^MDC|1.1.1.1|38|{unit}|||||R\r")
    (error,) = reading.errors
    assert (error.code, error.field) == (code, 6)
    assert reading.intake.sets == ()


def test_the_number_of_obx_3_wins_over_its_name() -> None:
    reading = read(HEAD + "OBX|1|" + heart_rate().replace("MDC_ECG_HEART_RATE", "MDC_RESP_RATE") + "\r")
    assert reading.intake.sets[0].values[0].measure == "hr"
    assert reading.disagreeing_codes == 1


def test_the_name_alone_is_enough() -> None:
    assert value_of(heart_rate().replace("147842^", "^")).measure == "hr"


@pytest.mark.parametrize(("value", "quality"), [("^60", "valid"), ("=^60", "valid"), (">^60", "questionable")])
def test_structured_numerics_are_read_and_bounds_are_questionable(value: str, quality: str) -> None:
    got = value_of(heart_rate(value, kind="SN"))
    assert (got.value, got.quality) == ("60", quality)


def test_signal_quality_belongs_to_the_saturation() -> None:
    rows = (
        "OBX|1|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.2.1.1|93|262688^MDC_DIM_PERCENT^MDC|||||R\r"
        "OBX|2|NM|150320^MDC_SAT_O2_QUAL^MDC|1.2.1.2|45|262688^MDC_DIM_PERCENT^MDC|||||R\r"
    )
    (part,) = read(HEAD + rows).intake.sets
    (value,) = part.values
    assert value.signal_quality == 0.45


def test_a_code_without_a_measure_is_told_and_not_an_error() -> None:
    reading = read(HEAD + "OBX|1|NM|999^MDC_NEW^MDC|1.1.1.1|5|262688^MDC_DIM_PERCENT^MDC|||||R\r")
    assert (reading.errors, reading.unknown_codes) == ((), frozenset({999}))
    assert reading.intake.raw_reason == "nothing-measured"


def test_each_obr_gives_a_set_of_its_own_time() -> None:
    second = HEAD.split("\r")[3].replace("20261120073000", "20261120073010")
    text = HEAD + f"OBX|1|{heart_rate()}\r{second}\rOBX|2|{heart_rate('113')}\r"
    times = [part.measured_at_ns for part in read(text).intake.sets]
    assert times == [1_795_131_000 * SECOND_NS, 1_795_131_010 * SECOND_NS]


def test_a_time_without_zone_is_read_in_the_zone_of_the_site_and_flagged() -> None:
    (part,) = read(EXAMPLE_TEXT.replace("+0800", "")).intake.sets
    assert part.measured_at_ns == 1_795_131_000 * SECOND_NS
    assert part.source_ref.endswith(";zone-assumed")


def test_an_unreadable_own_time_is_a_field_error() -> None:
    reading = read(EXAMPLE_TEXT.replace("20261120072810", "20261399072810", 1))
    assert [(error.sequence, error.field) for error in reading.errors] == [(10, 14)]


PERSONS = [
    ("P-51018201-0093", OCCUPANT, True),
    ("", OCCUPANT, True),
    ("", None, True),
    ("P-51018201-0093", None, False),
    ("P-2", OCCUPANT, False),
    ("P-2^^^X~P-51018201-0093", OCCUPANT, True),
    ("P-51018201-0093", replace(OCCUPANT, birth_date="1953-03-14"), False),
    ("P-51018201-0093", replace(OCCUPANT, gender="male"), False),
    ("P-51018201-0093", replace(OCCUPANT, family_name="王"), False),
    ("P-51018201-0093", replace(OCCUPANT, family_name="Shili"), True),
    ("", replace(OCCUPANT, family_name="王"), False),
]


@pytest.mark.parametrize(("claimed", "occupant", "is_bed"), PERSONS)
def test_the_person_named_is_compared_with_the_bed(claimed: str, occupant: Occupant | None, is_bed: bool) -> None:
    text = EXAMPLE_TEXT.replace("P-51018201-0093^^^BAOSHAN&2.999.1.7&ISO^MR", claimed)
    reading = read(text, replace(AROUND, occupant=occupant))
    assert (reading.intake.sets[0].assignment is Assignment.BED) is is_bed
    assert ("identity" in reading.standing) is not is_bed


def test_a_device_that_says_it_stands_elsewhere_is_unassigned() -> None:
    reading = read(EXAMPLE_TEXT.replace("OBS^R1^B02", "OBS^R1^B03"))
    assert reading.intake.sets[0].assignment is Assignment.UNASSIGNED
    assert reading.intake.notes[0].detail == "other-location"


def test_a_device_without_a_bed_is_unassigned_without_an_alarm() -> None:
    reading = read(EXAMPLE_TEXT, device=DEVICE.model_copy(update={"bed": None}))
    assert reading.intake.sets[0].assignment is Assignment.UNASSIGNED
    assert reading.standing == frozenset()


REFUSALS = [
    ("ORU^R01^ORU_R01", "ADT^A01", "200"),
    ("ORU^R01^ORU_R01", "ORU^R30", "201"),
    ("|P|2.6", "|P|2.2", "203"),
    ("|P|2.6", "|X|2.6", "202"),
    ("|P|2.6", "||2.6", "202"),
    ("BS01-20261120-000417|P", "|P", "101"),
    ("QY-MON^0A1B2CFFFE3D4E5F", "QY-MON^0A1B2CFFFE3D4E60", "204"),
]


@pytest.mark.parametrize(("old", "new", "code"), REFUSALS)
def test_what_is_not_taken_is_refused_with_its_code(old: str, new: str, code: str) -> None:
    refusal = admit(parse(EXAMPLE_TEXT.replace(old, new, 1).encode()), [DEVICE])
    assert isinstance(refusal, Refusal)
    assert refusal.error.code == code


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.5.1", "2.8"])
def test_versions_from_2_3_to_2_8_are_taken(version: str) -> None:
    assert isinstance(admit(parse(EXAMPLE.replace(b"|2.6|", f"|{version}|".encode(), 1)), [DEVICE]), Admitted)


def test_a_device_without_eui64_is_known_by_its_application() -> None:
    by_name = DeviceConfig(device="old", family="hl7_monitor", application="QY-MON")
    plain = EXAMPLE_TEXT.replace("QY-MON^0A1B2CFFFE3D4E5F^EUI-64", "QY-MON", 1)
    assert isinstance(admit(parse(plain.encode()), [by_name]), Admitted)
    assert isinstance(admit(parse(EXAMPLE), [by_name]), Refusal)


def run_clock(skew_s: float, messages: int) -> DeviceClock:
    clock = DeviceClock()
    for _ in range(messages):
        clock.take(round(skew_s * SECOND_NS))
    return clock


def test_a_clock_three_hours_behind_is_corrected_after_twenty_messages() -> None:
    late = replace(AROUND, arrived_at_ns=EXAMPLE_SENT_NS + 3 * 3600 * SECOND_NS)
    for messages, corrected_s in ((19, 0), (20, 3 * 3600)):
        reading = read(EXAMPLE_TEXT, replace(late, clock=run_clock(3 * 3600, messages)))
        (part,) = reading.intake.sets
        assert part.measured_at_ns == (1_795_131_000 + corrected_s) * SECOND_NS
        assert part.values[4].measured_at_ns == (1_795_130_890 + corrected_s) * SECOND_NS
        assert part.late is (corrected_s == 0)
        assert ("clock" in reading.standing) is (corrected_s == 0)


def test_a_clock_ahead_raises_its_alarm_at_once_and_is_judged_on_arrival() -> None:
    reading = read(EXAMPLE_TEXT, replace(AROUND, arrived_at_ns=EXAMPLE_SENT_NS - 3600 * SECOND_NS))
    assert "clock" in reading.standing
    assert reading.intake.sets[0].clock_suspect
    assert not reading.intake.sets[0].late


def test_one_old_message_is_late_and_no_clock_alarm() -> None:
    reading = read(EXAMPLE_TEXT, replace(AROUND, arrived_at_ns=EXAMPLE_SENT_NS + 86_400 * SECOND_NS))
    assert reading.standing == frozenset()
    assert reading.intake.sets[0].late


def test_a_queue_that_drains_is_not_taken_for_a_wrong_clock() -> None:
    clock = DeviceClock()
    for number in range(100):
        assert not clock.is_off((600 - number) * SECOND_NS)
        clock.take((600 - number) * SECOND_NS)
    assert not clock.is_known


def test_a_clock_set_back_after_its_offset_was_known_is_wrong_after_five_messages_and_not_late_for_twenty() -> None:
    clock = run_clock(0.8, 20)
    said = []
    for _ in range(6):
        said.append(clock.is_off(3600 * SECOND_NS))
        clock.take(3600 * SECOND_NS)
    assert said == [False, False, False, False, True, True]


def test_small_offsets_do_not_move_the_time_of_a_measurement() -> None:
    clock = run_clock(0.8, 20)
    assert (clock.is_known, clock.offset_ns) == (True, 0)


def test_test_messages_are_stored_as_test_and_say_nothing_about_the_device() -> None:
    reading = read(EXAMPLE_TEXT.replace("|P|2.6", "|T|2.6").replace("P-51018201-0093^", "P-2^"))
    assert reading.intake.sets[0].origin == "test"
    assert reading.intake.notes == ()


WAVE = (
    "OBX|1|NA|131330^MDC_ECG_ELEC_POTL_II^MDC|1.1.1.7|{samples}|266418^MDC_DIM_MILLI_VOLT^MDC|||||R\r"
    "OBX|2|NM|0^MDC_ATTR_SAMP_RATE^MDC|1.1.1.7.1|{rate}|264608^MDC_DIM_PER_SEC^MDC|||||R\r"
    "OBX|3|NM|2327^MDC_ATTR_NU_MSMT_RES^MDC|1.1.1.7.2|0.005|266418^MDC_DIM_MILLI_VOLT^MDC|||||R\r"
    "OBX|4|NM|262196^MDC_EVT_INOP^MDC|1.1.1.7.3|-32768||||||R\r"
)


def test_a_wave_keeps_its_digits_rate_gain_and_invalid_digit() -> None:
    (part,) = read(HEAD + WAVE.format(samples="-3^0^-32768^2147483647", rate="500.0")).intake.waves
    (channel,) = part.channels
    assert (channel.measure, channel.unit, channel.rate_hz, channel.gain) == ("ecg_II", "mV", 500.0, 200.0)
    assert np.array_equal(channel.digits, [-3, 0, -32768, 2147483647])
    assert channel.invalid_digits == (-32768,)


@pytest.mark.parametrize(
    ("facet", "value"), [("NU_MSMT_RES^MDC|1.1.1.7.2|0.005", "1e-320"), ("INOP^MDC|1.1.1.7.3|-32768", "9999999999")]
)
def test_a_facet_out_of_range_is_a_field_error(facet: str, value: str) -> None:
    text = WAVE.format(samples="1^2", rate="250")
    assert facet in text
    reading = read(HEAD + text.replace(facet, facet.rpartition("|")[0] + "|" + value))
    assert len(reading.errors) == 1


def test_times_beyond_every_calendar_stay_storable() -> None:
    for year in ("9999", "0001"):
        reading = read(EXAMPLE_TEXT.replace("20261120", f"{year}1120"), replace(AROUND, clock=run_clock(-36e5, 20)))
        (part,) = reading.intake.sets
        assert 0 <= part.measured_at_ns < 2**63
        assert part.clock_suspect


def test_a_wave_of_decimals_gets_digits_in_its_last_place() -> None:
    text = (HEAD + WAVE.format(samples="0.125^-1.5^2", rate="250")).replace("OBX|3|", "ZZZ|3|")
    (part,) = read(text).intake.waves
    assert part.channels[0].digits.tolist() == [125, -1500, 2000]
    assert part.channels[0].gain == 1000.0


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        ("1^2", "0"),
        ("1^2", "abc"),
        ("1^x", "250"),
        ("1^2147483648", "250"),
        ("1^^2", "250"),
        ("1^2", "1e999"),
        ("", "250"),
    ],
)
def test_a_wave_that_cannot_be_read_is_a_field_error(samples: str, rate: str) -> None:
    reading = read(HEAD + f"OBX|9|{heart_rate()}\r" + WAVE.format(samples=samples, rate=rate))
    assert len(reading.errors) == 1
    assert reading.intake.waves == ()
    assert reading.intake.sets[0].values[0].value == "112"
