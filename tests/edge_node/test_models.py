"""The models of a node as its configuration sets them up, and how their bundles reach them."""

import contextlib
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from telemed.errors import Code
from telemed.stuck import TEXTS
from telemed.transfer import FileKind

from edge_node import arrangement, stuck
from edge_node.__main__ import main
from edge_node.app import Node
from edge_node.buffer.clock import NodeClock
from edge_node.buffer.store import Buffer
from edge_node.bundle_arrivals import BundleArrivals
from edge_node.config import EdgeConfig, load
from edge_node.errors import ConfigRefused
from edge_node.inference.rollout import Row, Stage
from edge_node.inference.shelf import Shelf
from edge_node.supervise import Budget
from edge_node.uplink.transfer import releases
from edge_node.uplink.transfer.releases import Fetched, Listed
from tests.edge_node.test_app import config_in
from tests.fakes.bundles import Maker


def configured(folder: Path, root: bytes) -> EdgeConfig:
    (folder / "root.json").write_bytes(root)
    config = config_in(folder)
    inference = config.inference.model_copy(update={"root_file": folder / "root.json"})
    return config.model_copy(update={"inference": inference})


@pytest.mark.anyio
async def test_without_a_root_of_trust_no_model_is_run(tmp_path: Path) -> None:
    with contextlib.closing(Buffer.open(tmp_path / "buffer")) as buffer:
        node = Node(config_in(tmp_path), buffer)
        node.close()
        assert node.studies.models is None
        assert "models" not in [name for name, _, _ in node._stages()]


@pytest.mark.anyio
async def test_with_one_the_models_are_a_stage_that_is_told_of_bundles_alone(tmp_path: Path) -> None:
    config = configured(tmp_path, Maker(tmp_path / "maker").root)
    arrangement.check(config)
    with contextlib.closing(Buffer.open(tmp_path / "buffer")) as buffer:
        node = Node(config, buffer)
        assert node.studies.models is not None
        assert "models" in [name for name, _, _ in node._stages()]
        told: list[str] = []
        node.studies.models.arrived = lambda: told.append("looked")  # type: ignore[method-assign]
        for kind in (FileKind.OTHER, FileKind.BUNDLE):
            node._fetched(releases.Release("a" * 64, 1, "b" * 64, kind, "x", Fetched.HERE, "", b"", b""))
        assert told == ["looked"]
        node.close()


@pytest.mark.anyio
async def test_the_root_of_trust_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tmp_path, Maker(tmp_path / "maker").root)
    read: list[bytes] = []
    monkeypatch.setattr("edge_node.inference.trust.check_root", read.append)
    with contextlib.closing(Buffer.open(tmp_path / "buffer")) as buffer:
        Node(config, buffer).close()
    assert len(read) == 1


def test_signatures_are_judged_by_a_clock_that_was_compared_with_the_hubs_and_agrees() -> None:
    true_ns, steady_ns, hour_ns = 1_790_000_000 * 10**9, 100 * 10**9, 3600 * 10**9
    shown_ns = [true_ns]
    clock = NodeClock(7, wall=lambda: shown_ns[0], steady=lambda: steady_ns)
    outlets = arrangement.models_outlets(CollectorRegistry(), lambda *_: None, Budget, clock)
    assert not outlets.is_clock_known()
    clock.hear(true_ns - steady_ns, 5_000_000, steady_ns)
    assert outlets.is_clock_known()
    shown_ns[0] += hour_ns
    assert not outlets.is_clock_known()


@pytest.mark.anyio
async def test_bundles_that_are_here_wait_until_the_trail_has_what_became_of_them(tmp_path: Path) -> None:
    config = configured(tmp_path, Maker(tmp_path / "maker").root)
    with contextlib.closing(Buffer.open(tmp_path / "buffer")) as buffer:
        node = Node(config, buffer)
        assert node.files is not None
        files = node.files
        names = {"a" * 64: FileKind.BUNDLE, "b" * 64: FileKind.STUDY, "c" * 64: FileKind.BUNDLE}
        listed = [Listed(sha256, 1, "d" * 64, kind, "x") for sha256, kind in names.items()]
        await files._ledger.write(lambda c: releases.take_list(c, listed))
        for sha256 in ("a" * 64, "b" * 64):
            await files._ledger.write(lambda c, one=sha256: releases.note(c, one, {"state": Fetched.HERE}))  # type: ignore[misc]
        when_noted = list[Fetched]()

        async def noted() -> None:
            when_noted.extend(each.state for each in await files.fetched() if each.sha256 == "a" * 64)

        arrivals = BundleArrivals(files, noted)
        (waiting,) = await arrivals.waiting()
        assert waiting.sha256 == "a" * 64
        assert waiting.path == files.path_of((await files.fetched())[0])
        await arrivals.settled(waiting)
        assert await arrivals.waiting() == []
        assert when_noted == [Fetched.HERE]
        node.close()


@pytest.mark.parametrize(("root", "said"), [(b"", "no root of trust"), (b"{}", "no root of trust")])
def test_a_root_that_is_none_is_refused_with_its_key(tmp_path: Path, root: bytes, said: str) -> None:
    with pytest.raises(ConfigRefused, match=rf"inference\.root_file: .*{said}"):
        arrangement.check(configured(tmp_path, root))
    (tmp_path / "root.json").unlink()
    config = config_in(tmp_path)
    missing = config.inference.model_copy(update={"root_file": tmp_path / "root.json"})
    with pytest.raises(ConfigRefused, match=r"inference\.root_file: .*cannot be read"):
        arrangement.check(config.model_copy(update={"inference": missing}))


def test_paths_of_models_are_relative_to_the_configuration(tmp_path: Path) -> None:
    text = (
        '[node]\nregion = "baoshan"\nsite = "s"\nnode = "edge-s"\nname_zh = "站"\nname_en = "Site"\n'
        '[buffer]\nfolder = "buffer"\n[uplink]\n[[beds]]\nbed = "B01"\nlabel = "01"\n'
        '[inference]\nroot_file = "root.json"\nfolder = "models"\n'
    )
    (tmp_path / "node.toml").write_text(text)
    inference = load(tmp_path / "node.toml").inference
    assert (inference.root_file, inference.folder) == (tmp_path / "root.json", tmp_path / "models")


def test_the_command_lists_what_is_on_duty_and_why_something_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "root.json").write_bytes(Maker(tmp_path / "maker").root)
    text = (
        '[node]\nregion = "baoshan"\nsite = "s"\nnode = "edge-s"\nname_zh = "站"\nname_en = "Site"\n'
        '[buffer]\nfolder = "buffer"\n[uplink]\n[[beds]]\nbed = "B01"\nlabel = "01"\n'
    )
    command = ["models", "--config", str(tmp_path / "node.toml")]
    (tmp_path / "node.toml").write_text(text)
    assert main(command) == 0
    assert "no model is run" in capsys.readouterr().out
    (tmp_path / "node.toml").write_text(f'{text}[inference]\nroot_file = "root.json"\n')
    assert main(command) == 0
    assert "no bundle was ever released" in capsys.readouterr().out
    on_duty = Row("a" * 64, "blur", "1.0.0", Stage.SERVING, 1_700_000_000_000_000_000)
    refused = Row("b" * 64, "", "", Stage.REFUSED, 1_800_000_000_000_000_000, "signature-wrong", "timestamp")
    Shelf(tmp_path / "buffer" / "models").save((on_duty, refused))
    assert main(command) == 0
    first, why, second = capsys.readouterr().out.splitlines()
    assert first.startswith("refused      (not believed)")
    assert (
        "签名不是受信任的钥匙所签 / it is not signed by a key that this node trusts: signature-wrong timestamp" in why
    )
    assert second.startswith("serving      blur 1.0.0")
    assert second.endswith("2023-11-14T22:13:20+00:00  onnxruntime-cpu/fp32")


def test_people_are_told_of_a_bundle_that_was_refused() -> None:
    (told,) = stuck.of_models(["blur 1.1.0 too-slow"])
    assert (told.code, told.what) == ("bundle-refused", "blur 1.1.0 too-slow")
    assert Code.BUNDLE_REFUSED in TEXTS
