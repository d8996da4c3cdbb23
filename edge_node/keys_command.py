"""`edge-node keys show | change | erase`: the keys of the store, in plain words.

`show` may be run beside a running node; the others while it is stopped.
"""

import argparse
import asyncio
import contextlib
from datetime import UTC, datetime

from telemed import stuck
from telemed.errors import Code

from edge_node import arrangement
from edge_node.buffer.erasing import Stretch
from edge_node.buffer.sealing import Sealing
from edge_node.config import EdgeConfig
from edge_node.errors import ConfigRefused
from edge_node.folder_lock import only_one

NAME = "keys"
NS = 1_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked for to the parser of `keys`."""
    parser.add_argument(
        "action",
        choices=("show", "change", "erase"),
        help="change: begin new keys, seal all anew; erase: for good, what a device measured from --from to --to",
    )
    parser.add_argument("--device", default="", help="erase: code of the device")
    parser.add_argument("--from", dest="since", default="", metavar="TIME", help="erase: ISO 8601 with offset")
    parser.add_argument("--to", dest="until", default="", metavar="TIME", help="erase: ISO 8601 with offset, included")


def run(config: EdgeConfig, options: argparse.Namespace) -> list[str]:
    """Do what was asked; return what to print.

    Raises:
        ConfigRefused: what is to be erased is not said, or the node is running.
        BufferFailure: it could not be done.
    """
    if options.action == "show":
        return _shown(config)
    stretch = _stretch(options) if options.action == "erase" else None
    with only_one(config.buffer.folder):
        return asyncio.run(_change(config) if stretch is None else _erase(config, stretch))


def _shown(config: EdgeConfig) -> list[str]:
    keeping = arrangement.keeping(config)
    sealing = Sealing.reading(config.buffer.folder, keeping)
    where = keeping.key_folder(config.buffer.folder)
    if sealing.reason:
        zh, en = stuck.TEXTS[Code.STORE_LOCKED]
        return [zh, en, sealing.reason, *(_set_aside(name) for name in sealing.set_aside)]
    if not sealing.has_keys:
        return ["没有密钥，存储未加密 / there are no keys, the store is not encrypted"]
    made = datetime.fromtimestamp(sealing.made_ns / NS, UTC).date()
    state = "加密 / encrypted" if keeping.is_on else "已关闭，不再加密新数据 / switched off, new data are not encrypted"
    return [f"{state}: {sealing.key_count} 把密钥 / keys, {made} UTC", f"密钥文件 / key files: {where}"]


def _set_aside(name: str) -> str:
    return (
        f"备用密钥环打不开，已另存为 {name}，未被覆盖：放回 spare-keys 中的密钥文件并重启即可恢复 / "
        f"a spare keyring cannot be opened; it was set aside as {name}, nothing was written over it: "
        "put its key file back into spare-keys and restart"
    )


async def _change(config: EdgeConfig) -> list[str]:
    with contextlib.closing(arrangement.open_buffer(config)) as buffer:
        await buffer.keys.change()
        await buffer.keys.reseal_all()
    return ["已更换密钥，全部数据已重新加密 / the keys were changed, everything is sealed anew"]


async def _erase(config: EdgeConfig, stretch: Stretch) -> list[str]:
    with contextlib.closing(arrangement.open_buffer(config)) as buffer:
        count = await buffer.erase(stretch)
    return [f"已彻底清除 {count} 条记录 / {count} records were erased for good"]


def _stretch(options: argparse.Namespace) -> Stretch:
    if not options.device or "/" in options.device:
        raise ConfigRefused("--device: say which device's measurements are to be erased")
    from_ns, to_ns = (_time_ns(name, text) for name, text in (("--from", options.since), ("--to", options.until)))
    if from_ns > to_ns:
        raise ConfigRefused("--to: is before --from")
    return Stretch(options.device, from_ns, to_ns)


def _time_ns(name: str, text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or at.timestamp() < 0:
        raise ConfigRefused(f"{name}: a time with its offset is needed, e.g. 2026-11-26T08:00:00+08:00")
    return int(at.timestamp()) * NS
