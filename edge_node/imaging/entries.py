"""The catalogue as queries see it: one entry a study, series or object, by the keywords of the standard."""

import sqlite3
from collections.abc import Iterator

from edge_node.imaging.matching import IMAGE, STUDY, Query

Entry = dict[str, object]
_STUDY = (
    "study.study_uid AS StudyInstanceUID, study.patient_id AS PatientID, study.issuer AS IssuerOfPatientID, "
    "study.patient_name AS PatientName, study.birth_date AS PatientBirthDate, study.sex AS PatientSex, "
    "study.study_date AS StudyDate, study.description AS StudyDescription"
)
_SERIES = (
    "instance.series_uid AS SeriesInstanceUID, instance.modality AS Modality, instance.series_number AS SeriesNumber, "
    "instance.series_description AS SeriesDescription"
)
_IMAGE = (
    "instance.sop_instance_uid AS SOPInstanceUID, instance.sop_class_uid AS SOPClassUID, "
    'instance.instance_number AS InstanceNumber, instance."rows" AS Rows, instance.columns AS Columns, '
    "instance.frames AS NumberOfFrames, instance.sha256, instance.transfer_syntax"
)
_COUNTS = (
    "count(DISTINCT instance.series_uid) AS NumberOfStudyRelatedSeries, "
    "count(*) AS NumberOfStudyRelatedInstances, group_concat(DISTINCT instance.modality) AS ModalitiesInStudy"
)
_FROM = (
    "FROM study JOIN instance USING (study_id) "
    "WHERE instance.version = 1 AND instance.kept = 0 AND study.study_uid != ''"
)


def of_level(connection: sqlite3.Connection, query: Query) -> Iterator[Entry]:
    """Yield the entries of a query's level, narrowed to the studies that it names."""
    uids = query.uids(STUDY)
    where = f"{_FROM} AND study.study_uid IN ({', '.join('?' * len(uids))})" if uids else _FROM
    if query.level == STUDY:
        asked = f"SELECT {_STUDY}, {_COUNTS} {where} GROUP BY study.study_id"
    elif query.level == IMAGE:
        asked = f"SELECT {_STUDY}, {_SERIES}, {_IMAGE} {where}"
    else:
        count = "count(*) AS NumberOfSeriesRelatedInstances"
        asked = f"SELECT {_STUDY}, {_SERIES}, {count} {where} GROUP BY study.study_id, instance.series_uid"
    for row in connection.execute(asked, uids):
        entry: Entry = dict(row)
        if "ModalitiesInStudy" in entry:
            entry["ModalitiesInStudy"] = sorted(set(str(entry["ModalitiesInStudy"] or "").split(",")) - {""})
        yield entry
