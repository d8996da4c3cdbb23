"""Studies, series and instances that sites sent, and what became of each file of them."""

import sqlalchemy as sa
from alembic import op

revision = "care_0017"
down_revision = "care_0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _file()
    _group()
    _study()
    _series()
    _instance()


def _file() -> None:
    op.create_table(
        "dicom_file",
        sa.Column("transfer_id", sa.String(length=36), nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column(
            "outcome",
            sa.String(length=20),
            nullable=False,
            comment="indexed, manifest, or why it is no image that can be shown",
        ),
        sa.Column("read_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("transfer_id", name=op.f("pk_dicom_file")),
    )
    op.create_index(op.f("ix_dicom_file_outcome"), "dicom_file", ["outcome"])


def _group() -> None:
    op.create_table(
        "dicom_group",
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.Column(
            "person_id",
            sa.String(length=64),
            nullable=False,
            comment="of the site; empty: a person has to say whose it is",
        ),
        sa.Column("generation", sa.BigInteger(), nullable=False, comment="of the manifest that counts: the highest"),
        sa.Column("told_ns", sa.BigInteger(), nullable=False, comment="when that manifest became complete"),
        sa.Column(
            "erased_ns", sa.BigInteger(), nullable=True, comment="when its files went because its person was erased"
        ),
        sa.PrimaryKeyConstraint("region", "site", "group_id", name=op.f("pk_dicom_group")),
    )
    op.create_index(op.f("ix_dicom_group_region_site_person_id"), "dicom_group", ["region", "site", "person_id"])


def _study() -> None:
    op.create_table(
        "dicom_study",
        sa.Column(
            "study_key",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 of region, site, group and UID; the FHIR id",
        ),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("study_date", sa.String(length=8), nullable=False, comment="YYYYMMDD, empty where it is not said"),
        sa.Column("study_time", sa.String(length=16), nullable=False),
        sa.Column("modalities", sa.Text(), nullable=False, comment="JSON list, sorted"),
        sa.Column("series_count", sa.Integer(), nullable=False),
        sa.Column(
            "instance_count", sa.Integer(), nullable=False, comment="previews and second versions are not counted"
        ),
        sa.Column("attributes", sa.Text(), nullable=False, comment="DICOM JSON of the study's level"),
        sa.Column("indexed_ns", sa.BigInteger(), nullable=False, comment="when something was last added to it"),
        sa.PrimaryKeyConstraint("study_key", name=op.f("pk_dicom_study")),
    )
    op.create_index(op.f("ix_dicom_study_region_study_uid"), "dicom_study", ["region", "study_uid"])
    newest = ["region", "study_date", "study_time", "study_key"]
    op.create_index(op.f("ix_dicom_study_region_study_date_study_time_study_key"), "dicom_study", newest)
    op.create_index(op.f("ix_dicom_study_region_site_group_id"), "dicom_study", ["region", "site", "group_id"])


def _series() -> None:
    op.create_table(
        "dicom_series",
        sa.Column("study_key", sa.String(length=64), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("series_number", sa.BigInteger(), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False, comment="DICOM JSON of the series' level"),
        sa.PrimaryKeyConstraint("study_key", "series_uid", name=op.f("pk_dicom_series")),
    )
    op.create_index(op.f("ix_dicom_series_region_series_uid"), "dicom_series", ["region", "series_uid"])


def _instance() -> None:
    op.create_table(
        "dicom_instance",
        sa.Column("study_key", sa.String(length=64), nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False, comment="as it is stored"),
        sa.Column("instance_number", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False, comment="0 where there are no pixels"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "version",
            sa.Integer(),
            nullable=False,
            comment="1 is what came first; more is other content of the same UID",
        ),
        sa.Column("is_preview", sa.Boolean(), nullable=False),
        sa.Column(
            "flaw",
            sa.String(length=20),
            nullable=False,
            comment="why its pixels cannot be shown; empty where nothing is known",
        ),
        sa.Column("attributes", sa.Text(), nullable=False, comment="DICOM JSON of the instance's level"),
        sa.Column("indexed_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("study_key", "sop_uid", "sha256", name=op.f("pk_dicom_instance")),
    )
    op.create_index(op.f("ix_dicom_instance_region_site_sop_uid"), "dicom_instance", ["region", "site", "sop_uid"])
    op.create_index(op.f("ix_dicom_instance_study_key_series_uid"), "dicom_instance", ["study_key", "series_uid"])
