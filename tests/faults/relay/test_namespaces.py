"""Which namespaces are ours and which are nobody's any more."""

import os
from pathlib import Path

import pytest

from tests.faults.relay import namespaces


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(namespaces, "FOLDER", tmp_path)
    return tmp_path


def named(owner: int, began: str) -> str:
    return f"{namespaces.PREFIX}-{owner}-{began}-hub"


def test_a_namespace_belongs_to_the_process_in_its_name_and_to_no_later_one_of_that_number(folder: Path) -> None:
    own, began = os.getpid(), namespaces._began(os.getpid())
    stranger = named(own, str(int(began) + 1))
    ended = named(2**22 + 1, "1")
    for name in (named(own, began), stranger, ended):
        (folder / name).touch()
    assert namespaces.left_behind() == sorted([stranger, ended])


def test_namespaces_of_others_are_left_alone(folder: Path) -> None:
    for name in ("other", f"{namespaces.PREFIX}-x", f"{namespaces.PREFIX}-1-hub"):
        (folder / name).touch()
    assert namespaces.left_behind() == []


def test_a_machine_that_never_had_namespaces_has_none_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "FOLDER", Path("/nowhere/at/all"))
    assert namespaces.left_behind() == []


def test_without_root_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(namespaces.Unavailable, match="root"):
        namespaces.make("edge")


def test_without_iproute2_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(namespaces.Unavailable, match="iproute2"):
        namespaces.command_inside("any", ["true"])
