"""Who and what is in the demo.  All names are invented: solar terms for patients, herbs for staff."""

from dataclasses import dataclass

REGION = "baoshan"


@dataclass(frozen=True, slots=True)
class Person:
    """One patient of the demo."""

    family: str
    given: str
    name_en: str
    gender: str
    birth_date: str
    number: str
    """Medical record number, authority BAOSHAN."""
    allergies: str = ""
    note: str = ""
    caregiver: str = ""
    calls: str = ""


@dataclass(frozen=True, slots=True)
class Bed:
    """One bed, its monitor and who lies in it."""

    bed: str
    label: str
    person: Person
    eui64: str
    profile: str
    """Profile of the simulated patient; "record" plays a WFDB record; "" = nobody plays this monitor."""
    location: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """One site with its edge node."""

    site: str
    node: str
    name_zh: str
    name_en: str
    phone: str
    http_port: int
    hl7_port: int
    home: bool
    beds: tuple[Bed, ...]


EXAMPLE_DEVICE_EUI64 = "0A1B2CFFFE3D4E5F"
"""The device of the example message in the documentation: enrolled, so that the message works as it stands."""

CLINIC = Site(
    "baoshan-clinic",
    "edge-clinic",
    "宝山镇卫生院",
    "Baoshan Town Clinic",
    "028-0000-0000",
    8090,
    2575,
    home=False,
    beds=(
        Bed(
            "B01",
            "01",
            Person(
                "谷",
                "雨生",
                "Gu Yusheng",
                "male",
                "1954-04-20",
                "P-51018201-0101",
                allergies="青霉素 penicillin",
                note="脑梗死后 14 月，mRS 2 · stroke 14 months ago, mRS 2",
            ),
            "0A1B2CFFFE000101",
            "deteriorating",
        ),
        Bed(
            "B02",
            "02",
            Person("示例", "患者", "Example Patient", "female", "1952-03-14", "P-51018201-0093"),
            EXAMPLE_DEVICE_EUI64,
            "",
            location="OBS^R1^B02^BAOSHAN-CLINIC",
        ),
        Bed(
            "B03",
            "03",
            Person("白", "露珍", "Bai Luzhen", "female", "1948-09-08", "P-51018201-0102", note="帕金森病 Parkinson"),
            "0A1B2CFFFE000103",
            "stable",
        ),
        Bed(
            "B04",
            "04",
            Person("小", "满仓", "Xiao Mancang", "male", "1960-05-21", "P-51018201-0104", note="癫痫 epilepsy"),
            "0A1B2CFFFE000104",
            "record",
        ),
        Bed(
            "B05",
            "05",
            Person("寒", "露平", "Han Luping", "male", "1945-10-08", "P-51018201-0105", note="慢阻肺 COPD"),
            "0A1B2CFFFE000105",
            "fever",
        ),
    ),
)

HOME = Site(
    "heming-home",
    "edge-home",
    "鹤鸣村家庭病房",
    "Heming Village Home Ward",
    "028-0000-0002",
    8091,
    2576,
    home=True,
    beds=(
        Bed(
            "H1",
            "家1",
            Person(
                "秋",
                "分兰",
                "Qiu Fenlan",
                "female",
                "1950-09-23",
                "P-51018201-0201",
                note="阿尔茨海默病 Alzheimer disease",
                caregiver="caregiver",
                calls="妈妈",
            ),
            "0A1B2CFFFE000201",
            "stable",
        ),
        Bed(
            "H2",
            "家2",
            Person("霜", "降林", "Shuang Jianglin", "male", "1957-10-23", "P-51018201-0202", note="ALS"),
            "0A1B2CFFFE000202",
            "stable",
        ),
        Bed(
            "H3",
            "家3",
            Person("夏", "至明", "Xia Zhiming", "male", "1968-06-21", "P-51018201-0203", note="多发性硬化 MS"),
            "0A1B2CFFFE000203",
            "stable",
        ),
        Bed(
            "H4",
            "家4",
            Person("立", "春花", "Li Chunhua", "female", "1942-02-04", "P-51018201-0204", note="脑卒中后 post stroke"),
            "0A1B2CFFFE000204",
            "stable",
        ),
    ),
)

SITES = (CLINIC, HOME)

SCANNER = "DEMO-MR"
"""AE title of the clinic's MR scanner."""

STAFF: dict[str, dict[str, object]] = {
    "physician": {"role": "physician", "name_zh": "杜仲 医师", "name_en": "Dr Du Zhong", "sites": []},
    "clinic": {"role": "clinic", "name_zh": "黄芪 医生", "name_en": "Dr Huang Qi", "sites": [CLINIC.site]},
    "caregiver": {"role": "caregiver", "name_zh": "秋小禾", "name_en": "Qiu Xiaohe", "sites": [HOME.site]},
    "operator": {"role": "operator", "name_zh": "决明 运维", "name_en": "Jue Ming, operator", "sites": []},
}
API_SCOPES = [
    "system/Patient.rs",
    "system/Observation.rs",
    "system/ImagingStudy.rs",
    "system/DiagnosticReport.rs",
    "system/Device.rs",
]
