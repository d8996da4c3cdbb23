"""Everything the edge needs exists as a wheel for 64-bit Arm (decisions 19): resolved, nothing installed."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.supply import licences

ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_26_aarch64", "manylinux_2_28_aarch64")


def resolve(requirements: list[str], target: Path) -> subprocess.CompletedProcess[str]:
    """Ask the resolver for wheels alone, for CPython 3.11 on aarch64, of the locked versions."""
    versions = target / "versions.txt"
    locked = licences.locked((ROOT / "deploy/locks/dev.txt").read_text())
    versions.write_text("".join(f"{name}=={version}\n" for name, version in locked.items()))
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    return subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--no-cache-dir",
         "--disable-pip-version-check", "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp",
         *platforms, "--target", str(target), "-c", str(versions), *requirements],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_package_of_the_edge_has_a_wheel_for_aarch64(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    done = resolve([*project["dependencies"], *project["optional-dependencies"]["edge"]], tmp_path)
    if "Temporary failure" in done.stderr or "NewConnectionError" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_resolver_check_can_fail(tmp_path: Path) -> None:
    # atheris has no wheel for aarch64: if this resolved, the check above would prove nothing.
    assert resolve(["atheris==3.0.0"], tmp_path).returncode != 0
