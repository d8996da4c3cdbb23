"""What an alarm says, in both languages: edge and hub must use the same words for the same condition."""

from telemed.measures import MEASURES

SHORT_NAMES: dict[str, tuple[str, str]] = {
    "hr": ("心率", "HR"),
    "pr_oxim": ("脉率", "PR"),
    "pr_nibp": ("脉率", "PR"),
    "rr": ("呼吸", "RR"),
    "spo2": ("血氧", "SpO₂"),
    "nibp_sys": ("收缩压", "Systolic BP"),
    "nibp_dia": ("舒张压", "Diastolic BP"),
    "temp": ("体温", "Temperature"),
    "glu": ("血糖", "Glucose"),
    "etco2": ("呼末二氧化碳", "EtCO₂"),
}
"""Names short enough for an alarm line; other measures use those of the measures table."""

TEXTS: dict[str, tuple[str, str]] = {
    "apnoea": ("呼吸暂停", "Apnoea"),
    "asystole": ("心搏停止", "Asystole"),
    "hr-zero": ("心搏停止", "No heart beat"),
    "identity": ("设备报的是另一位病人，数据暂不归档", "The device names another patient: data held back"),
    "identity-mismatch": ("设备报的是另一位病人，数据暂不归档", "The device names another patient: data held back"),
    "clock": ("设备时钟不可信", "Device clock is not to be believed"),
    "clock-suspect": ("设备时钟不可信", "Device clock is not to be believed"),
    "device-silent": ("设备无数据", "No data from the device"),
    "device-unknown": ("未登记的设备在发数据", "A device that is not enrolled is sending"),
    "lead-off": ("导联脱落", "Lead off"),
    "probe-off": ("血氧探头脱落", "Oximeter probe off"),
    "battery-low": ("电量低", "Battery low"),
    "hub-silent": ("中心失联", "Hub out of contact"),
    "site-silent": ("本站失联", "Site out of contact"),
    "alarm-unreadable": ("收到无法读取的报警,请查看床旁", "An alarm arrived that cannot be read: look at the bedside"),
    "store-full": ("本站存储已满", "Local store is full"),
    "quality-low": ("信号质量差", "Poor signal"),
}
"""Conditions that need no value, technical ones above all."""


def alarm_text(condition: str, measure: str, value: str, limit: str) -> tuple[str, str]:
    """Return the line of an alarm in Chinese and English, with its value and limit where it has them."""
    if condition in TEXTS:
        return TEXTS[condition]
    if condition.startswith("news2"):
        return _news2(condition, value, limit)
    zh, en = _name(measure)
    if not zh:
        return condition, condition
    shown = f" {value}" if value else ""
    if condition.endswith("-low") and limit:
        return f"{zh}{shown} 低于 {limit}", f"{en}{shown} below {limit}"
    if condition.endswith("-high") and limit:
        return f"{zh}{shown} 高于 {limit}", f"{en}{shown} above {limit}"
    return f"{zh}{shown} 异常".replace("  ", " "), f"{en}{shown} abnormal"


def _name(measure: str) -> tuple[str, str]:
    if measure in SHORT_NAMES:
        return SHORT_NAMES[measure]
    row = MEASURES.get(measure)
    return (row.zh, row.en) if row else ("", "")


def _news2(condition: str, value: str, limit: str) -> tuple[str, str]:
    score = f" {value}" if value else ""
    if "three" in condition or "single" in condition:
        return f"NEWS2{score}，单项 3 分", f"NEWS2{score}, a single part scores 3"
    if limit:
        return f"NEWS2{score}，达到 {limit}", f"NEWS2{score}, {limit} or more"
    return f"NEWS2{score}", f"NEWS2{score}"
