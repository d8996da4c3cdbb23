"""What people are told of the modem, Chinese and English."""

from collections.abc import Mapping

from edge_node.uplink.modem.sight import ModemState, Technology
from edge_node.uplink.modem.sim_choice import Reason

Words = tuple[str, str]
"""Chinese, English."""

STATES: Mapping[ModemState, Words] = {
    ModemState.ABSENT: ("未找到通信模块", "No modem found"),
    ModemState.FAILED: ("通信模块故障", "The modem has failed"),
    ModemState.NO_SIM: ("没有 SIM 卡", "No SIM card"),
    ModemState.LOCKED: ("SIM 卡已锁，需输入 PIN", "The SIM card wants its PIN"),
    ModemState.OFF: ("通信模块已关闭", "The modem is switched off"),
    ModemState.STARTING: ("通信模块正在启动", "The modem is starting"),
    ModemState.SEARCHING: ("正在搜索网络", "Searching for a network"),
    ModemState.DENIED: ("网络拒绝此 SIM 卡，请查话费和套餐", "The network refuses this SIM: check the contract"),
    ModemState.REGISTERED: ("已注册网络，未连接数据", "In the network, no data connection"),
    ModemState.CONNECTING: ("正在连接数据", "Connecting"),
    ModemState.CONNECTED: ("数据已连接", "Connected"),
}
TECHNOLOGIES: Mapping[Technology, Words] = {
    Technology.GSM: ("2G", "2G"),
    Technology.UMTS: ("3G", "3G"),
    Technology.LTE: ("4G", "4G"),
    Technology.NR_NSA: ("5G（非独立组网）", "5G beside 4G"),
    Technology.NR_SA: ("5G", "5G"),
}
SIM_REASONS: Mapping[Reason, Words] = {
    Reason.START: ("开机时使用的卡", "In use since the start"),
    Reason.FOUND: ("手动选择", "Chosen by hand, or kept by the modem"),
    Reason.NO_SERVICE: ("另一张卡长时间无服务，已换卡", "The other SIM had no service for long"),
    Reason.NO_HUB: ("另一张卡信号弱且连不上中心，已换卡", "The other SIM had a poor signal and did not reach the hub"),
    Reason.RETURN: ("信号已稳定，换回首选卡", "Back on the preferred SIM after a good while"),
}
