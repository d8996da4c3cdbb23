"""What physicians say of a model's findings: kept once, never changed, by whom on which bytes, and by nobody else."""

import uuid
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update
from telemed.roles import Role

from cloud_hub.access import images
from cloud_hub.access.rights import Principal
from cloud_hub.desk.finding_reviews import open_study
from cloud_hub.errors import NotFound, StoreFailure
from cloud_hub.store import finding_reviews, studies
from cloud_hub.store.schema import audit, finding_review
from cloud_hub.store.studies import Narrowing
from tests.cloud_hub import role_world as world
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.imaging.test_dicomweb import Pacs, pacs
from tests.cloud_hub.role_world import stores
from tests.fakes import ai_reports, swi_dicom

__all__ = ["hashed", "pacs", "stores"]
pytestmark = pytest.mark.anyio


class Desk:
    """Somebody at the page of a study that a model read."""

    def __init__(self, pacs: Pacs) -> None:
        self.pacs, self.key = pacs, ""

    async def sign_in(self, who: str) -> None:
        body = {"username": who, "password": world.PASSWORD}
        answer = await self.pacs.client.post("/api/v1/session", json=body)
        assert answer.status_code == 200, answer.text
        self.pacs.client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]

    async def reports(self) -> list[dict[str, Any]]:
        answer = await self.pacs.get(f"/api/v1/studies/{self.key}/reviews")
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["reports"]
        return found

    async def report(self) -> dict[str, Any]:
        (found,) = await self.reports()
        return found

    async def say(self, number: int | None, verdict: str, **more: Any) -> httpx.Response:
        """Say something of a finding (None: of the whole), on what the page shows now; `more` says other fields."""
        report = await self.report()
        finding = report | {"finding_uid": report["sop_uid"]} if number is None else report["findings"][number]
        body = {
            "review_id": str(uuid.uuid4()),
            "sha256": report["sha256"],
            "version": len(finding["reviews"]),
            "verdict": verdict,
        }
        address = f"/api/v1/studies/{self.key}/findings/{finding['finding_uid']}/reviews"
        return await self.pacs.client.post(address, json=body | more)

    def trail(self) -> list[tuple[str, str, str, str]]:
        c = audit.c
        query = select(c.actor, c.action, c.object, c.result).where(c.action.like("study-finding-%")).order_by(c.id)
        return [tuple(row) for row in self.pacs.stores.care.read_blocking(lambda k: k.execute(query).all())]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What a model said of a study, as its node wrote it."""
    return ai_reports.objects(tmp_path_factory.mktemp("mr") / "mr", 2)


@pytest.fixture
async def desk(pacs: Pacs, results: list[bytes]) -> Desk:
    return await at_desk(pacs, results)


async def at_desk(pacs: Pacs, results: list[bytes]) -> Desk:
    """A doctor at the page of a study with these results."""
    await pacs.take(*results)
    found = Desk(pacs)
    await found.sign_in("clinic")
    asked = Narrowing(study_uids=frozenset({swi_dicom.STUDY}))
    (study,) = pacs.stores.care.read_blocking(lambda c: list(studies.studies(c, world.REGION, asked)))
    found.key = study.study_key
    return found


def said(finding: dict[str, Any], **other: Any) -> dict[str, Any]:
    told: dict[str, Any] = finding["told"]
    return told | other


async def test_a_finding_is_unverified_until_a_doctor_says_so_by_name(desk: Desk) -> None:
    report = await desk.report()
    assert (report["state"], [one["reviews"] for one in report["findings"]]) == ("preliminary", [[], []])
    answer = await desk.say(0, "accepted")
    assert answer.status_code == 201, answer.text
    first, second = (await desk.report())["findings"]
    (review,) = first["reviews"]
    assert (review["verdict"], review["by"], review["version"]) == ("accepted", {"zh": "clinic", "en": "clinic"}, 1)
    assert second["reviews"] == []
    assert answer.json()["reviews"] == first["reviews"]
    assert desk.trail() == [("clinic", "study-finding-accepted", "Patient/own", "ok")]


async def test_what_was_said_names_the_bytes_the_model_and_what_it_had_told(desk: Desk) -> None:
    await desk.say(0, "rejected", reason="vessel")
    (review,) = desk.pacs.stores.care.read_blocking(lambda c: finding_reviews.of_studies(c, {desk.key}))
    shown = await desk.report()
    report = review.report
    assert (report.sop_uid, report.sha256, report.findings) == (shown["sop_uid"], shown["sha256"], 2)
    assert (report.task, report.task_version, report.bundle_sha256) == ("cmb", "0.1.0", "a" * 64)
    assert (review.told.said.diameter_mm, review.told.said.region) == (3.0, "lobar")
    assert (review.username, review.role, review.word.reason) == ("clinic", "clinic", "vessel")


async def test_a_changed_finding_keeps_both_what_the_model_told_and_what_it_is(desk: Desk) -> None:
    finding = (await desk.report())["findings"][0]
    answer = await desk.say(0, "edited", said=said(finding, region="deep", diameter_mm=4.5))
    assert answer.status_code == 201, answer.text
    after = (await desk.report())["findings"][0]
    assert after["told"] == finding["told"]
    (review,) = after["reviews"]
    assert (review["said"]["region"], review["said"]["diameter_mm"]) == ("deep", 4.5)
    assert review["said"]["centre_mm"] == finding["told"]["centre_mm"]


@pytest.mark.parametrize(
    ("verdict", "more", "field"),
    [
        ("rejected", {}, "reason"),
        ("accepted", {"reason": "vessel"}, "reason"),
        ("edited", {}, "said"),
        ("reopened", {}, "verdict"),
        ("edited", {"change": {}}, "said"),
        ("edited", {"change": {"code": "tumour"}}, "said.code"),
        ("edited", {"change": {"diameter_mm": 0}}, "said.diameter_mm"),
        ("edited", {"change": {"centre_mm": [1e9, 0, 0]}}, "said.centre_mm"),
        ("accepted", {"change": {"region": "deep"}}, "said"),
    ],
)
async def test_what_a_verdict_does_not_need_or_lacks_is_refused(
    verdict: str, more: dict[str, Any], field: str, desk: Desk
) -> None:
    if "change" in more:
        more = {"said": said((await desk.report())["findings"][0], **more["change"])}
    answer = await desk.say(0, verdict, **more)
    assert (answer.status_code, answer.json()["fields"]) == (422, [field])
    assert desk.trail() == []


async def test_of_two_at_once_the_second_is_told_what_stands(desk: Desk) -> None:
    await desk.say(0, "accepted")
    await desk.sign_in("physician")
    answer = await desk.say(0, "rejected", reason="artefact", version=0)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (409, "refused-illegal-state")
    assert [(one["verdict"], one["by"]["en"]) for one in told["reviews"]] == [("accepted", "clinic")]
    assert (await desk.say(0, "rejected", reason="artefact", version=2)).status_code == 409
    assert len((await desk.report())["findings"][0]["reviews"]) == 1
    # Who has seen what stands may say otherwise, and both words are kept.
    assert (await desk.say(0, "rejected", reason="artefact")).status_code == 201
    verdicts = [one["verdict"] for one in (await desk.report())["findings"][0]["reviews"]]
    assert verdicts == ["accepted", "rejected"]


async def test_what_is_sent_twice_is_said_once_and_its_name_is_for_nothing_else(desk: Desk) -> None:
    name = str(uuid.uuid4())
    for _ in range(2):
        answer = await desk.say(0, "accepted", review_id=name, version=0)
        assert (answer.status_code, len(answer.json()["reviews"])) == (201, 1)
    other = await desk.say(1, "accepted", review_id=name)
    assert (other.status_code, other.json()["fields"]) == (422, ["review_id"])
    await desk.sign_in("physician")
    assert (await desk.say(0, "accepted", review_id=name, version=0)).status_code == 422
    assert len(desk.trail()) == 1


async def test_taking_back_is_one_more_word_and_deletes_none(desk: Desk) -> None:
    for verdict in ("accepted", "reopened"):
        assert (await desk.say(0, verdict)).status_code == 201
    finding = (await desk.report())["findings"][0]
    assert [one["verdict"] for one in finding["reviews"]] == ["accepted", "reopened"]


async def test_a_report_is_final_once_all_is_reviewed_and_amended_by_another_word(desk: Desk) -> None:
    states = []
    for number, verdict, more in (
        (0, "accepted", {}),
        (1, "rejected", {"reason": "vessel"}),
        (1, "reopened", {}),
        (1, "accepted", {}),
    ):
        await desk.say(number, verdict, **more)
        states.append((await desk.report())["state"])
    assert states == ["preliminary", "final", "preliminary", "amended"]


async def test_another_reports_bytes_and_a_finding_that_is_not_in_it_are_refused(desk: Desk) -> None:
    assert (await desk.say(0, "accepted", sha256="0" * 64)).status_code == 409
    body = {
        "review_id": str(uuid.uuid4()),
        "sha256": (await desk.report())["sha256"],
        "version": 0,
        "verdict": "accepted",
    }
    address = f"/api/v1/studies/{desk.key}/findings/2.25.1/reviews"
    answer = await desk.pacs.client.post(address, json=body)
    assert (answer.status_code, answer.json()["fields"]) == (422, ["finding_uid"])


async def test_a_nurse_reads_what_is_said_and_says_nothing(desk: Desk) -> None:
    await desk.say(0, "accepted")
    await desk.sign_in("nurse")
    assert (await desk.say(0, "rejected", reason="vessel")).status_code == 403
    assert len((await desk.report())["findings"][0]["reviews"]) == 1


async def test_reading_is_written_down_and_a_stranger_reads_nothing(desk: Desk) -> None:
    await desk.report()
    assert ("images-read", "Patient/own", "ok") in desk.pacs.trail()
    desk.pacs.client.cookies.clear()
    assert (await desk.pacs.get(f"/api/v1/studies/{desk.key}/reviews")).status_code == 401


async def test_the_database_itself_changes_no_word(desk: Desk) -> None:
    await desk.say(0, "accepted")
    change = update(finding_review).values(verdict="rejected")
    with pytest.raises(StoreFailure):
        await desk.pacs.stores.care.write(lambda c: c.execute(change))


async def test_two_words_of_one_version_cannot_both_be_kept(desk: Desk) -> None:
    await desk.say(0, "accepted")
    care, where = desk.pacs.stores.care, (world.REGION, world.SITE)
    (kept,) = care.read_blocking(lambda c: finding_reviews.of_studies(c, {desk.key}))
    other = replace(kept, review_id=str(uuid.uuid4()))
    assert not await care.write(lambda c: finding_reviews.add(c, where, other))
    assert await care.write(lambda c: finding_reviews.add(c, where, replace(other, version=2)))


async def test_who_broke_the_glass_reads_and_says_nothing(desk: Desk) -> None:
    opened = Principal("other", Role.CLINIC, "", "", world.REGION, frozenset(), opened=frozenset({(world.SITE, "own")}))
    asked = Narrowing(study_keys=frozenset({desk.key}))
    care = desk.pacs.stores.care
    assert await care.read(lambda c: len(list(images.seen(c, opened, asked)))) == 1
    with pytest.raises(NotFound):
        await care.read(lambda c: open_study(c, opened, desk.key))
