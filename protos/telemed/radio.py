"""What people are told of a node's mobile link, Chinese and English; the same words at the bedside and at the hub."""

from collections.abc import Iterable, Mapping

from telemed.screen import RadioView, Text2
from telemed.v1 import uplink_pb2

STATES: Mapping[str, Text2] = {
    "absent": Text2(zh="未找到通信模块", en="No modem found"),
    "failed": Text2(zh="通信模块故障", en="The modem has failed"),
    "no-sim": Text2(zh="没有 SIM 卡", en="No SIM card"),
    "locked": Text2(zh="SIM 卡已锁，需输入 PIN", en="The SIM card wants its PIN"),
    "off": Text2(zh="通信模块已关闭", en="The modem is switched off"),
    "starting": Text2(zh="通信模块正在启动", en="The modem is starting"),
    "searching": Text2(zh="正在搜索网络", en="Searching for a network"),
    "denied": Text2(zh="网络拒绝此 SIM 卡，请查话费和套餐", en="The network refuses this SIM: check the contract"),
    "registered": Text2(zh="已注册网络，未连接数据", en="In the network, no data connection"),
    "connecting": Text2(zh="正在连接数据", en="Connecting"),
    "connected": Text2(zh="数据已连接", en="Connected"),
}
"""By the value of `ModemState`."""
TECHNOLOGIES: Mapping[str, Text2] = {
    "gsm": Text2(zh="2G", en="2G"),
    "umts": Text2(zh="3G", en="3G"),
    "lte": Text2(zh="4G", en="4G"),
    "5gnr-nsa": Text2(zh="5G（非独立组网）", en="5G beside 4G"),
    "5gnr-sa": Text2(zh="5G", en="5G"),
}
"""By the value of `Technology`."""
SIM_REASONS: Mapping[str, Text2] = {
    "start": Text2(zh="开机时使用的卡", en="in use since the start"),
    "found": Text2(zh="手动选择", en="chosen by hand, or kept by the modem"),
    "no-service": Text2(zh="另一张卡长时间无服务，已换卡", en="the other SIM had no service for long"),
    "no-hub": Text2(
        zh="另一张卡信号弱且连不上中心，已换卡", en="the other SIM had a poor signal and did not reach the hub"
    ),
    "return": Text2(zh="信号已稳定，换回首选卡", en="back on the preferred SIM after a good while"),
}
"""By the value of the `Reason` of a choice."""


def radio_views(radios: Iterable[uplink_pb2.Radio]) -> list[RadioView]:
    """Return the mobile links of a node as a screen shows them; codes of newer software are left without words."""
    return [_view(radio) for radio in radios]


def _view(radio: uplink_pb2.Radio) -> RadioView:
    return RadioView(
        path=radio.path,
        state=radio.state,
        state_text=STATES.get(radio.state, Text2(zh=radio.state, en=radio.state)),
        technology=TECHNOLOGIES.get(radio.technology),
        bars=radio.bars if radio.bars >= 0 else None,
        rsrp_dbm=round(radio.rsrp_dbm) if radio.rsrp_dbm else None,
        operator=radio.operator,
        roaming=radio.is_roaming,
        sim_slot=radio.sim_slot or None,
        sim_text=SIM_REASONS.get(radio.sim_reason),
        seen_ms=radio.seen_unix_ns // 1_000_000,
    )
