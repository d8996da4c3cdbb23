"""Where an extra is not installed, importing says so and how to get it."""

import sys

import pytest

from edge_node.importing.reasons import NotImported, Reason
from tests.edge_node.importing.conftest import Make
from tests.edge_node.importing.volume_writing import Phantom, nifti, vti


@pytest.mark.parametrize(
    ("name", "content", "module", "extra"),
    [
        ("v.nii", nifti(Phantom()), "SimpleITK", "yuanzhen[volumes]"),
        ("v.vti", vti(Phantom()), "vtkmodules.vtkIOXML", "yuanzhen[vti]"),
    ],
)
def test_a_reader_that_is_missing_is_named(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NotImported) as refusal:
        make(name, content, modality="MR", axes="LPS" if name == "v.vti" else "")
    assert refusal.value.reason is Reason.READER_MISSING
    assert extra in str(refusal.value)
