"""The queue in plain words, for people: states, reasons, progress."""

from datetime import datetime
from zoneinfo import ZoneInfo

from telemed.errors import Code
from telemed.transfer import REFUSALS

from edge_node.uplink.transfer.parcel import Parcel
from edge_node.uplink.transfer.plan import NS
from edge_node.uplink.transfer.releases import Fetched, Release
from edge_node.uplink.transfer.states import State

STATES: dict[str, tuple[str, str]] = {
    State.WAITING: ("等待", "waiting"),
    State.SENDING: ("正在传送", "sending"),
    State.PAUSED: ("暂停", "paused"),
    State.DONE: ("中心已收妥", "safe at the hub"),
    State.REFUSED: ("未被接收", "refused"),
    State.CANCELLED: ("已取消", "cancelled"),
    Fetched.WANTED: ("等待下载", "to be fetched"),
    Fetched.HERE: ("已下载", "here"),
    Fetched.DISCARDED: ("已删除", "deleted here"),
}
REASONS: dict[str, tuple[str, str]] = {
    **REFUSALS,
    Code.LINK_DOWN: ("联系不上中心，恢复后自动续传", "the hub cannot be reached; goes on by itself"),
    Code.BUDGET_USED: ("今天的流量额度已用完", "today's budget for this kind is used up"),
    Code.OUTSIDE_HOURS: ("不在允许传送的时段", "not at this time of day"),
    Code.IDENTITY_REFUSED: (
        "中心不认本站点的密钥：请检查密钥文件",
        "the hub does not accept this node's secret: check the secret file",
    ),
    Code.FILE_CHANGED: (
        "文件排队后被改动或损坏：请重新发送",
        "the file was changed or damaged after it was queued: send it again",
    ),
    Code.STORE_NEARLY_FULL: ("存储快满了，稍后自动再传", "a disk is nearly full; goes on by itself"),
}
"""Why a file is paused or refused: Chinese, English."""

MIB = 1024 * 1024
KIB = 1024


def line(parcel: Parcel, zone: ZoneInfo) -> str:
    """Return one file of the queue as a line of English; its times are the site's."""
    share = 100 * parcel.durable_bytes // parcel.size_bytes
    labels = parcel.labels
    marks = [mark for mark, is_set in (("urgent", labels.is_urgent), ("preview", labels.is_preview)) if is_set]
    told = f"{labels.kind} {labels.name!r}, {size(parcel.size_bytes)}{''.join(f', {mark}' for mark in marks)}: "
    told += STATES[parcel.state][1]
    if parcel.state not in (State.DONE, State.CANCELLED):
        told += f", {share} % safe at the hub"
    if parcel.code:
        told += f"; {REASONS.get(parcel.code, (parcel.code, parcel.code))[1]}"
    if parcel.resume_ns and parcel.state is State.PAUSED:
        told += f"; goes on {datetime.fromtimestamp(parcel.resume_ns / NS, zone):%Y-%m-%d %H:%M}"
    return f"{parcel.parcel_id}  {told}"


def release_line(release: Release) -> str:
    """Return one file that the hub has for this node as a line of English."""
    share = 100 if release.state is Fetched.HERE else 100 * release.chunks.size_bytes(release.size_bytes)
    if release.state is not Fetched.HERE:
        share //= release.size_bytes
    told = f"{release.kind} {release.name!r}, {size(release.size_bytes)}: {STATES[release.state][1]}, {share} % here"
    reason = REASONS.get(release.code, (release.code, release.code))[1]
    return f"{release.sha256[:36]}  {told}" + (f"; {reason}" if reason else "")


def size(size_bytes: int) -> str:
    """Return a size for people."""
    return f"{size_bytes / MIB:.1f} MiB" if size_bytes >= MIB else f"{max(1, round(size_bytes / KIB))} KiB"
