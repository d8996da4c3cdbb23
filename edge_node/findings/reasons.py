"""Why a study is not read, as a code that is stored and in words for people.  Pure."""

from enum import StrEnum


class Reason(StrEnum):
    """Stored in the audit trail and in reports; never reworded, at most 20 characters."""

    PHASE_MISSING = "phase-missing"
    PHASE_DIFFERS = "phase-differs"
    PHASE_UNKNOWN = "phase-unknown"
    SLICES_MISSING = "slices-missing"
    SLICES_DOUBLE = "slices-double"
    SLICES_TILTED = "slices-tilted"
    SLICES_SHEARED = "slices-sheared"
    SLICES_FEW = "slices-few"
    SLICES_THICK = "slices-thick"
    PIXELS_COARSE = "pixels-coarse"
    SIZES_DIFFER = "sizes-differ"
    GEOMETRY_MISSING = "geometry-missing"
    MULTI_FRAME = "multi-frame"
    PIXELS_UNREADABLE = "pixels-unreadable"
    IMAGES_DIFFER = "images-differ"
    PATIENTS_MIXED = "patients-mixed"
    TOO_LARGE = "too-large"
    NO_BRAIN = "no-brain"
    NOT_FOR_PATIENTS = "not-for-patients"
    RECIPE_UNKNOWN = "recipe-unknown"
    MODEL_ABSENT = "model-absent"
    ENGINE_FAILED = "engine-failed"
    READER_FAILED = "reader-failed"
    WRITER_FAILED = "writer-failed"
    TOO_LATE = "too-late"


WORDS: dict[Reason, tuple[str, str]] = {
    Reason.PHASE_MISSING: (
        "没有相位序列：没有相位无法区分出血与钙化",
        "There is no phase series: without phase, blood and calcium cannot be told apart",
    ),
    Reason.PHASE_DIFFERS: (
        "相位与幅值的层面不一一对应",
        "The slices of the phase series are not those of the magnitude series",
    ),
    Reason.PHASE_UNKNOWN: (
        "不知道该厂家相位图像的数值含义：请由工程师核实后写入序列规则",
        "What this maker's phase values mean is not known here: have it looked at and entered in the series rules",
    ),
    Reason.SLICES_MISSING: (
        "层间距不均匀：缺层或层距变化",
        "The distance between slices varies: slices are missing or unevenly spaced",
    ),
    Reason.SLICES_DOUBLE: ("同一位置有两幅图像", "Two images lie at one place"),
    Reason.SLICES_TILTED: (
        "层面不是轴位，或倾斜过大",
        "The slices are not axial, or are tilted too far",
    ),
    Reason.SLICES_SHEARED: (
        "各层之间有侧向错位",
        "The slices are shifted sideways against each other",
    ),
    Reason.SLICES_FEW: ("层数太少", "There are too few slices"),
    Reason.SLICES_THICK: ("层距过大", "The slices are too far apart"),
    Reason.PIXELS_COARSE: ("像素过大", "The pixels are too large"),
    Reason.SIZES_DIFFER: (
        "各层的矩阵、像素大小或方向不同",
        "Matrix, pixel size or direction differ from slice to slice",
    ),
    Reason.GEOMETRY_MISSING: (
        "图像没有写明位置、方向或像素大小",
        "The images do not say where they lie, in what direction, or how large a pixel is",
    ),
    Reason.MULTI_FRAME: (
        "暂不支持多帧图像：请以单帧格式发送",
        "Images of several frames are not read yet: send single ones",
    ),
    Reason.PIXELS_UNREADABLE: ("图像的像素无法读取", "The pixels of an image cannot be read"),
    Reason.IMAGES_DIFFER: (
        "同一编号收到内容不同的图像：请先核对",
        "Different images came under one number: find out first which is right",
    ),
    Reason.PATIENTS_MIXED: (
        "检查中含有不止一名患者的图像",
        "The study names more than one patient",
    ),
    Reason.TOO_LARGE: ("序列过大", "The series is too large"),
    Reason.NO_BRAIN: ("图像中找不到脑", "No brain is to be seen in the images"),
    Reason.NOT_FOR_PATIENTS: (
        "模型仅以仿真数据训练，本站未开启研究用途",
        "The model was trained on phantoms alone, and research is off at this site",
    ),
    Reason.RECIPE_UNKNOWN: (
        "本站软件没有该模型所需的处理方法：请升级软件",
        "This site's software lacks a recipe that the model needs: update it",
    ),
    Reason.MODEL_ABSENT: ("模型的文件不在或已损坏", "The files of the model are gone or damaged"),
    Reason.ENGINE_FAILED: ("模型没有给出可用的结果", "The model gave no answer that can be used"),
    Reason.READER_FAILED: ("读取图像的进程出错", "The process that reads the images failed"),
    Reason.WRITER_FAILED: ("写结果的进程出错", "The process that writes the results failed"),
    Reason.TOO_LATE: ("超过时限", "It took too long"),
}
"""Chinese, English."""


class NotRead(Exception):
    """A study cannot be read by a model; it says why."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{WORDS[reason][1]} {detail}".strip())
        self.reason = reason
        self.detail = detail
