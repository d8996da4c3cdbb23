"""The manifest of a study: the same for both sides, and read without belief."""

import json
from dataclasses import replace

import pytest
from telemed import study
from telemed.study import ManifestTooLarge, ManifestUnreadable, StudyManifest, StudyObject, pack, unpack

OBJECT = StudyObject("1.2.3", "1.2", "1.5", "1.2.840.10008.1.2", "a" * 64, 1000, rows=4)
MANIFEST = StudyManifest("s-1", "1.2", 3, person_id="gu", description="头部", is_mixed=True, objects=(OBJECT, OBJECT))


def test_a_manifest_is_read_as_it_was_made() -> None:
    assert unpack(pack(MANIFEST)) == MANIFEST
    assert pack(unpack(pack(MANIFEST))) == pack(MANIFEST)
    assert unpack(pack(StudyManifest("s", "", 1))).objects == ()


def test_fields_of_a_newer_version_are_passed_over() -> None:
    told = json.loads(pack(MANIFEST))
    told["colour"] = told["objects"][0]["colour"] = "new"
    assert unpack(json.dumps(told).encode()) == MANIFEST


def changed(**change: object) -> bytes:
    return json.dumps({**json.loads(pack(MANIFEST)), **change}).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b"\xff",
        changed(format=2),
        changed(generation="3"),
        changed(generation=True),
        changed(study_id=None),
        changed(objects={}),
        changed(objects=[1]),
        changed(objects=[{}]),
        changed(objects=[{"sop_instance_uid": "1"}]),
    ],
)
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(ManifestUnreadable):
        unpack(raw)


def test_a_manifest_that_nobody_would_read_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "MANIFEST_LIMIT_BYTES", len(pack(MANIFEST)))
    assert unpack(pack(MANIFEST)) == MANIFEST
    with pytest.raises(ManifestTooLarge, match="3 objects"):
        pack(replace(MANIFEST, objects=(OBJECT, OBJECT, OBJECT)))
