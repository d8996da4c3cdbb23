"""Bad input 29, 37, 38 and 39 (reliability 4.4), fault 18: a hub releases bundles to a node, both real processes."""

import argparse
import contextlib
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from onnx import ModelProto, TensorProto, helper

from cloud_hub import release_command
from cloud_hub.config import load
from deploy.bundles import packing
from tests.fakes import bundles
from tests.fakes.bundles import Maker, draft
from tests.region.region import Clinic, Region, until
from tests.region.screen import Screen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
WITHIN_S = 60
"""A bad bundle is refused or rolled back within this."""


@dataclass(frozen=True, slots=True)
class Site:
    """A node that takes bundles, its hub, and who makes them."""

    region: Region
    maker: Maker

    def release(self, bundle: Path) -> None:
        """Let the node fetch a bundle."""
        asked = argparse.Namespace(file=bundle, to=["baoshan-clinic/edge-clinic"], kind="bundle", name="")
        release_command.run(load(self.region.folder / "hub.toml"), asked)

    def release_by_command(self, bundle: Path) -> None:
        """Do the same as an operator does it."""
        words = ("release", str(bundle), "--config", "hub.toml", "--to", "baoshan-clinic/edge-clinic")
        assert "baoshan-clinic/edge-clinic" in self.region.run("cloud_hub", *words)

    def rows(self) -> list[dict[str, Any]]:
        """Return what the node knows of its bundles."""
        path = self.region.folder / "edge-clinic-buffer" / "models" / "state.json"
        found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        return found

    def serving(self) -> list[str]:
        """Return the versions that are on duty."""
        return [row["version"] for row in self.rows() if row["stage"] in ("probation", "serving")]

    def until_serving(self, version: str) -> None:
        """Wait until a version is on duty."""
        until(lambda: version in self.serving(), WITHIN_S, f"{version} is on duty: {self.rows()}")

    def refused(self, bundle: Path) -> str:
        """Release a bundle and return why the node refuses it, while the one before it stays on duty."""
        before, on_duty = len(self._reasons()), self.serving()
        self.release(bundle)
        until(lambda: len(self._reasons()) > before, WITHIN_S, f"{bundle.name} is refused: {self.rows()}")
        assert self.serving() == on_duty
        assert httpx.get(f"{self.region.page_url()}/readyz").status_code == 200
        return self._reasons()[-1]

    def _reasons(self) -> list[str]:
        rows = sorted((row for row in self.rows() if row["stage"] == "refused"), key=lambda row: row["changed_ns"])
        return [row["reason"] for row in rows]

    def made(self, version: str, graph: ModelProto | bytes, **changes: Any) -> Path:
        """Return a signed bundle that no honest maker would have let pass: its graph was not looked at."""
        folder = self.maker.fill()
        out = folder.with_suffix(".bundle")
        (folder / "net.onnx").write_bytes(graph if isinstance(graph, bytes) else graph.SerializeToString())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("deploy.bundles.packing.bundle_graph.check", lambda *_: None)
            packing.pack(draft(version, **changes), folder, self.maker.repository, out)
        return out

    def told(self) -> str:
        """Return what the node's figures say of models."""
        return "\n".join(
            line for line in httpx.get(f"{self.region.page_url()}/metrics").text.splitlines() if "inference" in line
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("region")
    maker = Maker(folder / "maker")
    (folder / "root.json").write_bytes(maker.root)
    extra = '[inference]\nroot_file = "root.json"\nmemory_mib = 1024\nthreads = 1\n'
    region = Region(folder, (Clinic(beds=("B01",), extra=extra),))
    region.prepare()
    config = folder / "edge-clinic.toml"
    config.write_text(config.read_text().replace("[transfer]\n", "[transfer]\nlook_every_s = 1\n"))
    try:
        region.start()
        found = Site(region, maker)
        found.release(maker.pack("1.0.0"))
        found.until_serving("1.0.0")
        yield found
    except BaseException:
        print(region.logs())
        raise
    finally:
        region.stop()


def shown(operator: httpx.Client) -> str:
    """Return what an operator's screen at the hub says of the sites."""
    screen = Screen(operator)
    screen.socket.close()
    return json.dumps(screen.snapshot["sites"])


def tampered(bundle: Path, change: Callable[[bytearray], None]) -> Path:
    content = bytearray(bundle.read_bytes())
    change(content)
    bundle.write_bytes(content)
    return bundle


def with_entry(bundle: Path, entry: zipfile.ZipInfo, content: bytes) -> Path:
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr(entry, content)
    return bundle


def test_row_29_an_archive_with_a_path_upwards_a_link_or_a_bomb_is_refused_and_nothing_is_unpacked(site: Site) -> None:
    unpacked = site.region.folder / "edge-clinic-buffer" / "models" / "bundles"
    before = set(unpacked.iterdir())
    link, bomb = zipfile.ZipInfo("net-2.onnx"), zipfile.ZipInfo("more.onnx")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    bomb.compress_type = zipfile.ZIP_DEFLATED
    for number, (entry, content) in enumerate(
        ((zipfile.ZipInfo("../../outside"), b"x"), (link, b"/etc/passwd"), (bomb, bytes(200 * 2**20)))
    ):
        assert site.refused(with_entry(site.maker.pack(f"1.0.{2 + number}"), entry, content)) == "archive-unreadable"
    assert set(unpacked.iterdir()) == before
    assert not (unpacked.parents[1] / "outside").exists()
    site.release(site.maker.pack("1.0.9"))
    site.until_serving("1.0.9")


def test_row_37_a_bundle_with_a_wrong_hash_an_older_one_and_one_that_ran_out_are_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = site.maker.pack("1.0.1"), site.maker.pack("1.1.0")
    site.release(newer)
    site.until_serving("1.1.0")
    assert site.refused(older) == "not-current"

    def flip(content: bytearray) -> None:
        at = content.rindex(b"kernel") + 30
        content[at] ^= 1

    assert site.refused(tampered(site.maker.pack("1.2.0"), flip)) == "hash-wrong"
    assert site.refused(Maker(site.maker.folder / "stranger").pack("9.0.0")) == "signature-wrong"
    monkeypatch.setattr("deploy.bundles.repository.FRESH_FOR", timedelta(seconds=-1))
    assert site.refused(site.maker.pack("1.3.0")) == "metadata-expired"
    monkeypatch.undo()
    assert 'outcome="metadata-expired"' in site.told()


def test_row_38_a_signed_bundle_of_wrong_shape_with_nan_or_far_too_slow_never_comes_on_duty(site: Site) -> None:
    wide = bundles.model(
        [helper.make_node("Conv", ["image", "kernel"], ["out"], pads=[1, 1, 1, 1])],
        {"kernel": bundles.kernel()},
        (1, 1, 32, 32),
    )
    assert site.refused(site.made("2.0.0", wide)) == "shape-wrong"
    zero = helper.make_node("Constant", [], ["zero"], value=helper.make_tensor("z", TensorProto.FLOAT, [1], [0.0]))
    nan = bundles.model(
        [zero, helper.make_node("Div", ["image", "zero"], ["by"]), helper.make_node("Mul", ["by", "zero"], ["out"])], {}
    )
    assert site.refused(site.made("2.1.0", nan)) == "not-finite"
    assert site.refused(site.made("2.2.0", bundles.slow_blur(1200))) == "too-slow"


def test_row_39_data_outside_custom_operators_and_pickles_are_refused_before_they_are_loaded(site: Site) -> None:
    outside = bundles.blur()
    weights = outside.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../../../etc/passwd")
    assert site.refused(site.made("3.0.0", outside)) == "graph-refused"
    custom = bundles.model([helper.make_node("Run", ["image"], ["out"], domain="evil.example")], {})
    custom.opset_import.append(helper.make_opsetid("evil.example", 1))
    assert site.refused(site.made("3.1.0", custom)) == "graph-refused"
    oversized = bundles.blur()
    oversized.graph.initializer[0].dims[:] = [2**20, 2**20, 3, 3]
    assert site.refused(site.made("3.1.1", oversized)) == "graph-refused"
    assert site.refused(site.made("3.2.0", b"\x80\x04\x95cos\nsystem\n(S'id'\ntR.")) == "graph-refused"


def test_a_node_that_is_killed_while_it_takes_a_bundle_in_takes_it_after_the_restart_and_leaves_no_worker(
    site: Site,
) -> None:
    node = site.region.folder / "edge-clinic-buffer"
    bundles_folder, known = node / "models" / "bundles", set((node / "models" / "bundles").iterdir())
    moments: list[Callable[[], object]] = [
        lambda: [*(node / "spool" / "incoming").iterdir(), *(node / "spool" / "down").iterdir()],
        lambda: set(bundles_folder.iterdir()) - known,
    ]
    for number, moment in enumerate(moments):
        known.update(bundles_folder.iterdir())
        site.release(site.maker.pack(f"3.9.{number}"))
        until(moment, WITHIN_S, "a bundle is on its way")
        workers = psutil.Process(site.region.processes["edge-clinic"].popen.pid).children()
        site.region.kill("edge-clinic")
        psutil.wait_procs(workers, 10)
        assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in workers)
        site.region.start_edge()
        site.region.until_ready(site.region.page_url())
        site.until_serving(f"3.9.{number}")


def test_the_operator_is_told_and_the_node_restarts_with_what_it_had(site: Site) -> None:
    on_duty = site.serving()
    assert len(on_duty) == 1
    assert site.refused(Maker(site.maker.folder / "another").pack("9.1.0")) == "signature-wrong"
    with contextlib.closing(site.region.signed_in(site.region.hub_url, "operator")) as operator:
        until(lambda: "failed its checks" in shown(operator), 20, "the operator is told at the hub")
    site.region.kill("edge-clinic")
    site.region.start_edge()
    site.region.until_ready(site.region.page_url())
    assert site.serving() == on_duty
    later = site.maker.pack("4.0.0")
    site.release_by_command(later)
    site.until_serving("4.0.0")
    assert 'edge_inference_serving{engine="onnxruntime-cpu/fp32",task="blur",version="4.0.0"} 1.0' in site.told()
