"""What does not move, or must be looked at, in plain words: what it is, and what to do.  Hub and node say the same."""

from collections.abc import Iterable

from telemed.errors import Code
from telemed.screen import StuckView, Text2

TEXTS: dict[str, tuple[str, str]] = {
    Code.STORE_FULL: (
        "本站存储已满，新测量值暂存不下：请恢复网络或联系运维",
        "The site's store is full and takes no more measurements: bring the network back, or call the operator",
    ),
    Code.STORE_NEARLY_FULL: (
        "本站存储快满了：请尽快恢复网络",
        "The site's store is nearly full: bring the network back soon",
    ),
    Code.STORE_DAMAGED: (
        "本站存储文件损坏：能读出的已救回，坏文件已另存，监测照常；请联系运维检查磁盘",
        "A store file was damaged: what could be read is saved, the file is kept; have the operator check the disk",
    ),
    Code.STORE_NEWER: (
        "本站存储文件属于更新的软件，节点不启动，文件未作改动：请把站点软件升级回来",
        "A store file is of newer software, the node does not start and leaves it as it is: update the site's software",
    ),
    Code.STORE_LOCKED: (
        "本站存储的密钥不可用，此前的数据暂读不出、未作改动，新数据照常保存和上传：请放回密钥文件并重启站点",
        "The store's key is not there: earlier data are locked, new ones are kept and sent: put the key back, restart",
    ),
    Code.DATA_SHED: (
        "站点存储空间不足，部分未上传的旧波形或旧数值已精简或放弃，报警与转诊不受影响：请尽快恢复网络",
        "Short of room, the site thinned or gave up older unsent waves or values, no alarms: bring the network back",
    ),
    Code.DATA_DAMAGED: (
        "站点有记录因磁盘损坏无法读出，已登记为损坏：请检查该站点的磁盘",
        "Some records were damaged on the site's disk and are listed as damaged: check the site's disk",
    ),
    Code.DATA_COPY_GONE: (
        "中心丢失的部分数据，站点已无副本可补：如有更近的备份请恢复中心",
        "Some data that the hub lost the site no longer has: restore the hub from a newer backup if there is one",
    ),
    Code.EPOCH_LOST: (
        "站点的存储已重新开始，此前未上传的数据可能丢失：请核实该站点的磁盘是否损坏或被更换",
        "The site's store began anew, unsent data from before may be lost: was its disk damaged or changed?",
    ),
    Code.HUB_STORE_FULL: (
        "中心的存储盘已满，收不下新数据，数据留在站点、不会丢失：请立即为中心清理或扩充磁盘，之后自动补传",
        "The hub's disk is full, data wait at the sites, none is lost: make room at the hub, then they come again",
    ),
    Code.HUB_LOST_HISTORY: (
        "中心缺少站点曾经送达的数据（可能从备份恢复过），站点正在补发",
        "The hub lacks data that the site had delivered (restored from a backup?), the site sends them again",
    ),
    Code.NODE_CLOCK: (
        "本站主机时钟不准，能联系中心时以中心时间为准：请检查主机的时间同步",
        "The clock of the site's machine is wrong, the hub's time is used where known: check the time service",
    ),
    Code.NODE_CLOCK_SET: (
        "本站主机时钟被改动，报警计时不受影响：如非人为请检查主机的时间同步",
        "The clock of the site's machine was moved, alarms are timed without it: check the time service",
    ),
    Code.IDENTITY_MISMATCH: (
        "设备报的病人与床位不符，数据暂不归档：请核对床位与设备上的病人",
        "A device names another patient than the bed's, data held back: compare bed and device",
    ),
    Code.IDENTITY_UNKNOWN: (
        "设备报的病人不认识：请先登记病人",
        "A device names an unknown patient: register the person first",
    ),
    Code.STUDY_UNASSIGNED: (
        "有影像检查的病人号与在站病人不符，暂不归档：请核对是谁的检查",
        "A study names no patient who is here and is filed under nobody: say whose it is",
    ),
    Code.IMAGES_DIFFER: (
        "同一编号收到内容不同的影像，两份都已保存：请在发送的设备上核对哪份有效",
        "Different images came under one number, both are kept: ask at the sending device which is right",
    ),
    Code.IMAGES_REFUSED: (
        "磁盘快满，暂不接收影像，设备会重发：请恢复网络或联系运维清理磁盘",
        "The disk is nearly full, images are refused and sent again later: bring the network back, or make room",
    ),
    Code.IMAGES_CLOSED: (
        "影像文件夹或目录打不开，不接收影像，其他功能照常：请联系运维检查磁盘和软件版本",
        "Folder or list of images cannot be used, no images come in, all else goes on: have disk and version checked",
    ),
    Code.DEVICE_UNKNOWN: (
        "未登记的设备在发数据：请登记或断开该设备",
        "A device that is not enrolled is sending: enrol it or disconnect it",
    ),
    Code.CLOCK_SUSPECT: ("设备时钟不准：请校准设备时间", "A device clock is wrong: set the time on the device"),
    Code.PAYLOAD_UNREADABLE: (
        "有数据无法读取，已原样保留：若继续出现请联系技术支持",
        "Some data could not be read and were kept as they came: call support if this goes on",
    ),
    Code.TOO_LARGE: (
        "有数据超过大小限制，已原样保留：请联系技术支持",
        "Some data are over the size limit and were kept as they came: call support",
    ),
    Code.SEQ_JUMP: (
        "数据编号跳变过大，数据已保留待查：请核实该站点的存储盘是否被更换或损坏",
        "Record numbers jumped, data kept for a look: check whether the site's disk was changed or is damaged",
    ),
    Code.KEY_CONFLICT: (
        "同一编号收到两份不同数据，先到的有效：请确认没有第二台机器使用该站点的磁盘副本",
        "Two different records under one number, the first counts: make sure no second machine runs on a copied disk",
    ),
    Code.RECORDS_LOST: (
        "夜间核对：有记录中心丢失、站点也不再保留，无法补回：请检查中心的数据库和存储盘，必要时从备份找回",
        "Nightly check: records lost at the hub, no longer kept at the site: check the hub's disk, look in its backup",
    ),
    Code.RECORDS_DIFFER: (
        "夜间核对：中心与站点的同一条记录内容不同，中心的保留，站点的已另存：请检查两边的存储盘",
        "Nightly check: records differ, the hub's stand, the site's are kept aside: check the disks of both",
    ),
    Code.RECORDS_OPEN: (
        "夜间核对：中心缺少的记录已请站点补传，尚未补齐：请看该站点的网络",
        "Nightly check: records missing at the hub were asked for again and are not all back: look at the site's link",
    ),
    Code.RECORDS_DAMAGED: (
        "夜间核对：站点存储中有损坏的记录：请检查该站点的存储盘",
        "Nightly check: the site's store holds damaged records: check the site's disk",
    ),
    Code.SCHEMA_UNKNOWN: (
        "站点软件比中心新，部分数据已保存但还不能显示：请升级中心",
        "The site runs newer software than the hub; some data are kept but cannot be shown yet: upgrade the hub",
    ),
    Code.TOPIC_REFUSED: (
        "站点试图收发其他站点的数据，已拒绝：请检查该站点的配置，或更换其密钥",
        "A node tried to use another node's channel and was refused: check its configuration, or change its secret",
    ),
    Code.CONNECT_REFUSED: (
        "有人用该站点的名字登录失败：请检查站点的密钥文件",
        "Somebody failed to connect under this node's name: check the node's secret file",
    ),
    Code.NODE_TAKEN_OVER: (
        "同一站点名的连接反复互相顶替：请确认没有第二台机器使用该名字，否则请检查网络",
        "A node's connections keep taking each other over: make sure no other machine uses the name, or check the line",
    ),
    Code.CERTIFICATE_ENDED: (
        "本站证书已过期，数据留在本站、不会丢失，监测与报警照常：联系上中心后自动换新，否则请联系运维",
        "The node's certificate has ended, data wait here, care goes on: renewed once the hub is back, or call support",
    ),
    Code.CERTIFICATE_REFUSED: (
        "中心不再接受本站的证书，数据留在本站、未上传，监测与报警照常：请联系运维重新入网",
        "The hub takes this node's certificate no more, data wait here, care goes on: have the operator enrol it anew",
    ),
    Code.HUB_UNPROVED: (
        "中心出示的颁发机构本站不认识，数据留在本站、未上传，监测与报警照常：若中心更换过颁发机构，请联系运维重新入网",
        "The hub shows an authority unknown here, data wait, care goes on: if it was changed, have this node enrolled",
    ),
    Code.CONFIG_REFUSED: (
        "配置文件改过但不能使用，站点仍按原配置运行：请改正后重新加载",
        "The changed configuration cannot be used, the site goes on with the earlier one: correct it and load it again",
    ),
    Code.BROKER_SILENT: (
        "经消息服务器联系不上中心，数据改走备用通道直达中心：请检查消息服务器与 1883/8883 端口",
        "The hub is not heard through its broker; data go straight to it by the second way: check broker and its port",
    ),
    Code.AUDIT_BROKEN: (
        "站点送来的审计记录对不上（被改、被删或旧盘复原）：请保留该站点的磁盘，并在中心运行 cloud-hub audit verify",
        "A site's audit trail does not verify (changed, cut, an old disk): keep its disk, run cloud-hub audit verify",
    ),
    Code.HUB_AUDIT_DIFFERS: (
        "中心的审计记录与站点保存的签名不符（中心被改动或从备份恢复）：请运行 cloud-hub audit verify 核对",
        "The hub's audit trail is not what a site has a signature of (changed, a backup?): run cloud-hub audit verify",
    ),
    Code.NODE_CLONED: (
        "两台机器在用同一个站点名，后来的一台已隔离、数据留在该机：请停用其中一台，再重启要保留的那台",
        "Two machines use one node name, the later is shut out with its data: stop one, restart the one that stays",
    ),
    Code.NODE_SECOND: (
        "中心已有另一台机器在用本站点名，本机数据留在本机、未上传，监测与报警照常：请停用另一台，再重启本机",
        "Another machine has this node's name; data wait here, care goes on: switch the other off, restart this one",
    ),
    Code.BUNDLE_REFUSED: (
        "送来的模型未通过检查，已拒绝或退回，原有模型继续使用：请告知模型的发布者",
        "A model that was sent failed its checks and is not used, the one before it goes on: tell who released it",
    ),
    Code.STORE_SET_BACK: (
        "本站存储回到了较早的状态（旧盘、恢复的备份或损坏）：中心已有的数据不变，新数据另行编号，照常上传",
        "The site's store went back in time (old disk, backup, damage); new data are numbered apart: check the disk",
    ),
}


def stuck_views(found: Iterable[tuple[str, str]]) -> list[StuckView]:
    """Return one line for each code, in the order in which they come; a detail stands in brackets.

    Args:
        found: code and detail (a bed, a device, a node), never a person.
    """
    details: dict[str, list[str]] = {}
    for code, detail in found:
        known = details.setdefault(code, [])
        if detail and detail not in known:
            known.append(detail)
    return [StuckView(code=code, text=_text(code, ", ".join(known))) for code, known in details.items()]


def _text(code: str, detail: str) -> Text2:
    zh, en = TEXTS.get(code, (f"卡住：{code}", f"Stuck: {code}"))
    return Text2(zh=f"{zh}（{detail}）", en=f"{en} ({detail})") if detail else Text2(zh=zh, en=en)
