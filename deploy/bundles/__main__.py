"""`python -m deploy.bundles begin | add-task | pack | replace-key | freshen`: make and sign bundles, keys offline."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from telemed.bundle import BundleRefused

from deploy.bundles import packing
from deploy.bundles.keys import KeyFolder, KeyUnusable
from deploy.bundles.repository import TOP, Repository, Unsigned


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one step and return the exit status: 1 where it cannot be done."""
    asked = _parser().parse_args(arguments)
    try:
        passphrase = asked.passphrase_file.read_bytes().strip() if asked.passphrase_file else b""
        print(_done(Repository(asked.repository, KeyFolder(asked.keys, passphrase)), asked))
    except (BundleRefused, KeyUnusable, Unsigned, OSError, ValueError, KeyError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _done(repository: Repository, asked: argparse.Namespace) -> str:
    if asked.command == "begin":
        repository.begin()
        asked.root.write_bytes(repository.root())
        return f"{asked.root}: give this root to every node; keys in {asked.keys}: keep them offline"
    if asked.command == "add-task":
        repository.add_task(asked.task)
        return f"{asked.task}: may have bundles now"
    if asked.command == "replace-key":
        repository.replace_key(asked.role)
        return f"{asked.role}: has a new key; the next bundle tells the nodes"
    if asked.command == "freshen":
        repository.freshen()
        return "snapshot and time stamp are signed anew"
    bundle = packing.pack(packing.draft_in(asked.folder), asked.folder, repository, asked.out)
    return f"{asked.out}: {bundle.manifest.task} {bundle.manifest.version} {bundle.bundle_id}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.bundles", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    begin = commands.add_parser("begin", help="make a new root of trust")
    begin.add_argument("--root", type=Path, required=True, help="file for the root that nodes are given")
    commands.add_parser("add-task", help="let a task have bundles, with a key of its own").add_argument("task")
    pack = commands.add_parser("pack", help=f"make a bundle of a folder with {packing.DRAFT}, and sign it")
    pack.add_argument("folder", type=Path)
    pack.add_argument("--out", type=Path, required=True, help="the bundle's file, for `cloud-hub release`")
    commands.add_parser("replace-key", help="give a role a new key").add_argument("role", choices=TOP)
    commands.add_parser("freshen", help="sign snapshot and time stamp anew")
    for command in commands.choices.values():
        command.add_argument("--repository", type=Path, required=True, help="folder of what is signed")
        command.add_argument("--keys", type=Path, required=True, help="folder of the keys, best on a medium of its own")
        command.add_argument("--passphrase-file", type=Path, help="file with the passphrase of the keys")
    return parser


if __name__ == "__main__":
    sys.exit(main())
