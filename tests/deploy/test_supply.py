"""What is installed is locked by hash, fits what pyproject.toml asks for, and may be shipped."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.supply import __main__ as supply
from deploy.supply import licences
from deploy.supply.licences import Component

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PARTS = ("edge", "hub", "demo", "dev")


def asked_for(part: str) -> list[Requirement]:
    """Everything that a part asks for, with the parts that it includes."""
    found = [Requirement(line) for line in PROJECT["dependencies"]]
    for line in PROJECT["optional-dependencies"][part]:
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            found += [each for inner in sorted(requirement.extras) for each in asked_for(inner)]
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize("part", PARTS)
def test_a_lock_has_a_fitting_version_of_all_that_is_asked_for(part: str) -> None:
    versions = licences.locked((ROOT / f"deploy/locks/{part}.txt").read_text())
    unmet = [
        str(each)
        for each in asked_for(part)
        if not each.specifier.contains(versions.get(canonicalize_name(each.name), "0"), prereleases=True)
    ]
    assert unmet == []


@pytest.mark.parametrize("part", PARTS)
def test_each_package_of_a_lock_has_a_hash_and_no_place(part: str) -> None:
    text = (ROOT / f"deploy/locks/{part}.txt").read_text()
    assert "://" not in text
    assert " @ " not in text
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert len(blocks) > 40
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_all_locks_have_the_same_versions() -> None:
    locks = {part: licences.locked((ROOT / f"deploy/locks/{part}.txt").read_text()) for part in PARTS}
    for part, versions in locks.items():
        assert {name: locks["dev"].get(name) for name in versions} == versions, part


def test_each_package_of_the_screens_has_a_hash() -> None:
    packages = json.loads((ROOT / "cloud_hub/web/ui/package-lock.json").read_text())["packages"]
    assert [path for path, entry in packages.items() if path and "integrity" not in entry] == []


def test_every_licence_may_be_shipped_and_stands_on_the_page() -> None:
    found = supply.shipped()
    assert [one for each in found.values() for one in each if not licences.is_taken(one.licence)] == []
    assert supply.page(found) == supply.PAGE.read_text(), "run `make sbom`"


@pytest.mark.parametrize(
    "expression",
    ["", "GPL-3.0-only", "MIT AND AGPL-3.0-only", "SSPL-1.0 OR BUSL-1.1", "GPL-3.0-only AND (MIT OR ISC)", "MIT AND"],
)
def test_a_licence_that_does_not_fit_is_found(expression: str) -> None:
    assert not licences.is_taken(expression)


@pytest.mark.parametrize("expression", ["MIT", "EPL-2.0 OR BSD-3-Clause", "BSD-3-Clause AND (MIT AND Zlib)"])
def test_a_licence_that_fits_is_taken(expression: str) -> None:
    assert licences.is_taken(expression)


def test_what_is_for_other_systems_alone_is_left_out() -> None:
    markers = {
        "a": "sys_platform != 'win32'",
        "b": "sys_platform == 'win32'",
        "c": "python_full_version >= '3.12' and sys_platform == 'emscripten'",
        "d": "platform_machine == 'aarch64'",
    }
    text = "".join(f"{name}==1 ; {marker} \\\n    --hash=sha256:0\n" for name, marker in markers.items())
    assert licences.locked(f"{text}e==2 \\\n    --hash=sha256:0\n") == {"a": "1", "d": "1", "e": "2"}


def test_tools_for_building_are_no_part_of_the_screens(tmp_path: Path) -> None:
    lock = tmp_path / "package-lock.json"
    entries = {
        "": {"version": "0"},
        "node_modules/a/node_modules/@x/b": {"version": "1.0", "license": "MIT"},
        "node_modules/tool": {"version": "2.0", "license": "GPL-3.0-only", "dev": True},
    }
    lock.write_text(json.dumps({"packages": entries}))
    assert licences.of_screens(lock) == [Component("@x/b", "1.0", "MIT")]
