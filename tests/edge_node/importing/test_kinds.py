"""What a file is is told by its name and its first bytes; whatever else stands in it, only a refusal comes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.importing import kinds, photo
from edge_node.importing.kinds import Kind
from edge_node.importing.reasons import NotImported, Reason
from tests.edge_node.importing.volume_writing import Phantom, gipl, mhd, nifti, nrrd, vti

SOUND = {
    "V.NII": (nifti(Phantom()), Kind.NIFTI),
    "a.b.nii.gz": (b"\x1f\x8b\x08", Kind.NIFTI),
    "v.mhd": (mhd(Phantom(), "v.raw"), Kind.META),
    "v.nhdr": (nrrd(Phantom(), data_file="v.raw"), Kind.NRRD),
    "v.gipl": (gipl(Phantom()), Kind.GIPL),
    "v.vti": (vti(Phantom()), Kind.VTI),
    "头颅.jpeg": (b"\xff\xd8\xff\xe0", Kind.JPEG),
    "p.PDF": (b"\n%PDF-1.4", Kind.PDF),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_file_is_what_name_and_content_say_together(name: str) -> None:
    head, kind = SOUND[name]
    assert kinds.kind_of(name, head) is kind
    with pytest.raises(NotImported) as refusal:
        kinds.kind_of(name, b"something else")
    assert refusal.value.reason is Reason.KIND_DIFFERS


@pytest.mark.parametrize("name", ["", "nii", "v.nii.zip", "v.dcm", "v.raw", ".hidden"])
def test_other_kinds_are_refused_by_name(name: str) -> None:
    with pytest.raises(NotImported) as refusal:
        kinds.kind_of(name, nifti(Phantom()))
    assert refusal.value.reason is Reason.KIND_UNKNOWN


def test_the_file_that_a_header_names_is_found() -> None:
    name = "a b.raw"
    assert kinds.data_file(Kind.META, mhd(Phantom(), name)) == name
    assert kinds.data_file(Kind.META, mhd(Phantom(), "Local")) == ""
    assert kinds.data_file(Kind.NRRD, nrrd(Phantom(), data_file=name)) == name
    assert kinds.data_file(Kind.NRRD, nrrd(Phantom()) + b"\ndata file: in the data\n") == ""


@pytest.mark.parametrize(
    "name", ["../v.raw", "/v.raw", "a/v.raw", "a\\v.raw", "C:\\v.raw", ".v", "..", "LIST", "LIST 2", "v%d.raw"]
)
def test_a_header_that_points_elsewhere_is_refused(name: str) -> None:
    for kind, head in ((Kind.META, mhd(Phantom(), name)), (Kind.NRRD, nrrd(Phantom(), data_file=name))):
        with pytest.raises(NotImported) as refusal:
            kinds.data_file(kind, head)
        assert refusal.value.reason is Reason.PATH_OUTSIDE


@given(st.sampled_from(list(SOUND)), st.binary(max_size=400), st.integers(0, 400))
def test_of_whatever_bytes_nothing_comes_but_a_kind_or_a_refusal(name: str, junk: bytes, at: int) -> None:
    head = SOUND[name][0][:at] + junk + SOUND[name][0][at:]
    try:
        named = kinds.data_file(kinds.kind_of(name, head), head)
    except NotImported:
        return
    assert "/" not in named
    assert "\0" not in named


@given(st.binary(max_size=300))
def test_of_whatever_bytes_comes_no_stream_or_one_that_begins_as_a_jpeg(junk: bytes) -> None:
    assert photo.bare_stream(b"\xff\xd8" + junk)[:2] in (b"", b"\xff\xd8")
