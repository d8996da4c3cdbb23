"""IEEE 11073 codes this driver reads and the simulated monitor writes, beyond `telemed.measures`; pure.

Names of the numerics are those of clinical 1.2.  The facets of a wave follow IHE PCD WCM and what monitors
were seen to send (facet code 0 with the name alone, 2327, 262196 or 196660): all of `WAVE_FACETS` and
`WAVE_UNITS` is to be confirmed against RTMMS before clinical use.
"""

from telemed.measures import MDC_UNITS

REFIDS: dict[str, int] = {
    "MDC_ECG_HEART_RATE": 147842,
    "MDC_ECG_CARD_BEAT_RATE": 147842,
    "MDC_PULS_OXIM_PULS_RATE": 149530,
    "MDC_PULS_RATE_NON_INV": 149546,
    "MDC_RESP_RATE": 151562,
    "MDC_TTHOR_RESP_RATE": 151570,
    "MDC_CO2_RESP_RATE": 151594,
    "MDC_PULS_OXIM_SAT_O2": 150456,
    "MDC_SAT_O2_QUAL": 150320,
    "MDC_PRESS_BLD_NONINV": 150020,
    "MDC_PRESS_BLD_NONINV_SYS": 150021,
    "MDC_PRESS_BLD_NONINV_DIA": 150022,
    "MDC_PRESS_BLD_NONINV_MEAN": 150023,
    "MDC_PRESS_BLD_ART_ABP": 150036,
    "MDC_PRESS_BLD_ART_ABP_SYS": 150037,
    "MDC_PRESS_BLD_ART_ABP_DIA": 150038,
    "MDC_PRESS_BLD_ART_ABP_MEAN": 150039,
    "MDC_PRESS_BLD_ART": 150032,
    "MDC_PRESS_BLD_ART_SYS": 150033,
    "MDC_PRESS_BLD_ART_DIA": 150034,
    "MDC_PRESS_BLD_ART_MEAN": 150035,
    "MDC_TEMP_BODY": 150364,
    "MDC_TEMP": 150344,
    "MDC_TEMP_TYMP": 150392,
    "MDC_CONC_GLU_CAPILLARY_WHOLEBLOOD": 160184,
    "MDC_CONC_GLU_UNDETERMINED_PLASMA": 160368,
    "MDC_CONC_GLU_GEN": 160020,
    "MDC_MASS_BODY_ACTUAL": 188736,
    "MDC_LEN_BODY_ACTUAL": 188740,
    "MDC_ECG_ELEC_POTL": 131328,
    "MDC_ECG_ELEC_POTL_I": 131329,
    "MDC_ECG_ELEC_POTL_II": 131330,
    "MDC_ECG_ELEC_POTL_V1": 131331,
    "MDC_ECG_ELEC_POTL_III": 131389,
    "MDC_PULS_OXIM_PLETH": 150452,
    "MDC_RESP": 151552,
    "MDC_IMPED_TTHOR": 151780,
    "MDC_EEG_ELEC_POTL_CRTX": 153900,
}
"""Reference identifiers to codes, for OBX-3 without a number and to notice where the two disagree."""

REFID_OF: dict[int, str] = {code: name for name, code in reversed(REFIDS.items())}

RATE_FACET = "MDC_ATTR_SAMP_RATE"
RESOLUTION_FACET = "MDC_ATTR_NU_MSMT_RES"
RANGE_FACET = "MDC_ATTR_DATA_RANGE"
INVALID_FACET = "MDC_EVT_INOP"
BASELINE_FACET = "YUANZHEN_WAVE_BASELINE"
"""Ours (coding system 99YZ): the digit that stands for zero; absent = 0."""
LABEL_FACET = "YUANZHEN_WAVE_LABEL"
"""Ours: the label of the lead as the device or file gives it."""
LOCAL_CODING = "99YZ"

WAVE_FACETS: dict[str, int] = {RATE_FACET: 0, RESOLUTION_FACET: 2327, RANGE_FACET: 0, INVALID_FACET: 262196}
"""Facets of a wave, read by name; the number is only written."""
FACET_BY_CODE: dict[int, str] = {2327: RESOLUTION_FACET, 262196: INVALID_FACET, 196660: INVALID_FACET}

WAVE_UNITS: dict[int, str] = MDC_UNITS | {266418: "mV", 266419: "uV", 262656: "1", 264608: "/s", 264640: "Hz"}
"""Units of waves and their facets: millivolt, microvolt, dimensionless, per second, hertz."""
WAVE_UNIT_CODE: dict[str, tuple[int, str]] = {
    "mV": (266418, "MDC_DIM_MILLI_VOLT"),
    "uV": (266419, "MDC_DIM_MICRO_VOLT"),
    "1": (262656, "MDC_DIM_DIMLESS"),
    "mm[Hg]": (266016, "MDC_DIM_MMHG"),
}
UNIT_NAMES: dict[int, str] = {
    264864: "MDC_DIM_BEAT_PER_MIN",
    264928: "MDC_DIM_RESP_PER_MIN",
    262688: "MDC_DIM_PERCENT",
    266016: "MDC_DIM_MMHG",
    268192: "MDC_DIM_DEGC",
}
