"""Making and signing bundles by the command, as a person does it."""

import contextlib
import json
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from telemed.bundle import parse
from telemed.bundle_archive import Archive
from telemed.whole_files import write_whole

from deploy.bundles import packing
from deploy.bundles.__main__ import main
from deploy.bundles.keys import KeyFolder, KeyUnusable
from deploy.bundles.packing import DRAFT
from deploy.bundles.repository import GOOD_FOR, Repository, Unsigned
from edge_node.inference.trust import Trust, check_root
from tests.fakes import bundles
from tests.fakes.bundles import Maker, draft


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    (tmp_path / "passphrase").write_text("long and secret\n")
    return ["--repository", str(tmp_path / "signed"), "--keys", str(tmp_path / "keys"),
            "--passphrase-file", str(tmp_path / "passphrase")]  # fmt: skip


def drafted(tmp_path: Path, version: str = "1.0.0") -> Path:
    maker_folder = tmp_path / f"made-{version}"
    folder = Maker(maker_folder).fill()
    (folder / DRAFT).write_text(json.dumps(draft(version)))
    return folder


def test_from_nothing_to_a_bundle_that_a_node_believes(
    tmp_path: Path, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "root.json", tmp_path / "blur.bundle"
    assert main(["begin", "--root", str(root), *places]) == 0
    assert main(["add-task", "blur", *places]) == 0
    assert main(["pack", str(drafted(tmp_path)), "--out", str(out), *places]) == 0
    assert main(["freshen", *places]) == 0
    assert main(["replace-key", "timestamp", *places]) == 0
    assert "blur 1.0.0" in capsys.readouterr().out
    check_root(root.read_bytes())
    with Archive(out) as archive:
        Trust(tmp_path / "trust", root.read_bytes()).check(archive, parse(archive.manifest()))
    keys = sorted((tmp_path / "keys").iterdir())
    assert [key.name for key in keys] == [
        "root.pem", "snapshot.pem", "targets.pem", "task-blur.pem", "timestamp.pem"
    ]  # fmt: skip
    assert all(stat.S_IMODE(key.stat().st_mode) == 0o600 and b"ENCRYPTED" in key.read_bytes() for key in keys)


def test_what_cannot_be_done_is_said_and_nothing_is_signed(
    tmp_path: Path, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["begin", "--root", str(tmp_path / "root.json"), *places])
    folder = drafted(tmp_path)
    assert main(["pack", str(folder), "--out", str(tmp_path / "a"), *places]) == 1
    assert "nothing of that is signed" in capsys.readouterr().err
    main(["add-task", "blur", *places])
    signed = sorted(path.name for path in (tmp_path / "signed").rglob("*.json"))
    (folder / "net.onnx").write_bytes(bundles.model([], {}).SerializeToString())
    assert main(["pack", str(folder), "--out", str(tmp_path / "a"), *places]) == 1
    assert "BundleRefused" in capsys.readouterr().err
    assert main(["begin", "--root", str(tmp_path / "root.json"), *places]) == 1
    assert main(["add-task", "targets", *places]) == 1
    assert main(["add-task", "blur", *places]) == 1
    assert sorted(path.name for path in (tmp_path / "signed").rglob("*.json")) == signed


def test_a_wrong_passphrase_and_a_missing_key_are_said(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys", b"right")
    keys.make(["root"])
    with pytest.raises(KeyUnusable):
        KeyFolder(tmp_path / "keys", b"wrong").signer("root")
    with pytest.raises(KeyUnusable):
        keys.signer("targets")
    with pytest.raises(KeyUnusable):
        keys.make(["targets", "root"])
    assert not (tmp_path / "keys" / "targets.pem").exists()


def test_a_role_that_has_no_key_in_the_root_cannot_be_given_a_new_one(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "signed", KeyFolder(tmp_path / "keys"))
    repository.begin()
    with pytest.raises(Unsigned):
        repository.replace_key("blur")


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_nodes_follow_a_new_key_of_any_role(tmp_path: Path, role: str) -> None:
    maker = Maker(tmp_path / "maker")
    trust = Trust(tmp_path / "trust", maker.root)
    for version in ("1.0.0", "1.1.0"):
        with Archive(maker.pack(version)) as archive:
            trust.check(archive, parse(archive.manifest()))
        maker.repository.replace_key(role)
    with Archive(maker.pack("1.2.0")) as archive:
        trust.check(archive, parse(archive.manifest()))


@pytest.mark.parametrize("missing", ["root", "targets", "snapshot", "timestamp"])
def test_a_key_is_not_replaced_while_one_that_must_sign_is_elsewhere(tmp_path: Path, missing: str) -> None:
    maker = Maker(tmp_path / "maker")
    keys = maker.folder / "keys"
    before = {path.name: path.read_bytes() for path in keys.iterdir()}
    (keys / f"{missing}.pem").rename(tmp_path / "safe")
    with pytest.raises(KeyUnusable):
        maker.repository.replace_key("targets")
    (tmp_path / "safe").rename(keys / f"{missing}.pem")
    assert {path.name: path.read_bytes() for path in keys.iterdir()} == before
    maker.repository.replace_key("targets")
    believed(tmp_path, maker, maker.pack())


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_a_replacement_that_is_cut_short_anywhere_can_be_done_again(
    tmp_path: Path, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    while cut_short(tmp_path / str(steps), monkeypatch, steps, lambda repository: repository.replace_key(role)):
        steps += 1
    assert steps >= 5


def test_a_task_whose_beginning_was_cut_short_anywhere_can_be_added_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(repository: Repository) -> None:
        with contextlib.suppress(Unsigned):
            repository.add_task("edges")

    steps = 0
    while cut_short(tmp_path / str(steps), monkeypatch, steps, add):
        steps += 1
    assert steps >= 5


def test_a_task_is_not_half_added_without_the_key_that_lets_it_in(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "maker")
    keys = maker.folder / "keys"
    (keys / "targets.pem").rename(tmp_path / "safe")
    with pytest.raises(KeyUnusable):
        maker.repository.add_task("edges")
    assert not (keys / "task-edges.pem").exists()
    with pytest.raises(Unsigned):
        maker.pack(task="edges")
    (tmp_path / "safe").rename(keys / "targets.pem")
    maker.repository.add_task("edges")
    believed(tmp_path, maker, maker.pack(task="edges"))


def test_what_a_year_has_made_old_is_signed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GOOD_FOR, "targets", timedelta(seconds=-1))
    maker = Maker(tmp_path / "maker")
    monkeypatch.undo()
    maker.repository.freshen()
    believed(tmp_path, maker, maker.pack())


def test_nothing_is_signed_and_nothing_left_where_the_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = Maker(tmp_path / "maker")
    first = maker.pack()
    folder, out = maker.fill(), tmp_path / "out" / "a.bundle"
    out.parent.mkdir()
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr("telemed.bundle_archive.zipfile.ZipFile.writestr", full)
        with pytest.raises(OSError, match="No space left"):
            packing.pack(draft("1.1.0"), folder, maker.repository, out)
    assert list(out.parent.iterdir()) == []
    believed(tmp_path, maker, first)
    packing.pack(draft("1.1.0"), folder, maker.repository, out)
    believed(tmp_path, maker, out)


def believed(tmp_path: Path, maker: Maker, path: Path) -> None:
    """Look whether a node believes a bundle; raises where not."""
    with Archive(path) as archive:
        Trust(tmp_path / "trust", maker.root).check(archive, parse(archive.manifest()))


def cut_short(folder: Path, monkeypatch: pytest.MonkeyPatch, steps: int, change: Callable[[Repository], None]) -> bool:
    """Have the disk fail after so many steps of a change, do it again, and return whether it had failed.

    Whatever was on disk between, a node that knew the former root must follow.
    """
    maker = Maker(folder / "maker")
    trust = Trust(folder / "trust", maker.root)
    left = steps
    followed = KeyFolder.follow

    def one_step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")

    def write(file: Path, content: bytes, mode: int) -> None:
        one_step()
        write_whole(file, content, mode)

    def follow(keys: KeyFolder, role: str) -> None:
        one_step()
        followed(keys, role)

    with monkeypatch.context() as patch:
        patch.setattr("deploy.bundles.repository.write_whole", write)
        patch.setattr("deploy.bundles.keys.write_whole", write)
        patch.setattr(KeyFolder, "follow", follow)
        with contextlib.suppress(OSError):
            change(maker.repository)
    if left < 0:
        change(maker.repository)
    maker.repository.freshen()
    with Archive(maker.pack("1.1.0")) as archive:
        trust.check(archive, parse(archive.manifest()))
    return left < 0


@pytest.mark.parametrize("root", [b"", b"{}", b"[]", b'{"signed": {"_type": "root"}, "signatures": []}'])
def test_what_is_no_root_is_not_pinned(root: bytes) -> None:
    with pytest.raises(ValueError, match="no root of trust"):
        check_root(root)


def test_a_root_that_somebody_changed_is_not_pinned(tmp_path: Path) -> None:
    root = json.loads(Maker(tmp_path / "maker").root)
    root["signed"]["version"] = 7
    with pytest.raises(ValueError, match="no root of trust"):
        check_root(json.dumps(root).encode())
