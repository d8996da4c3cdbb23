"""Why a file is not imported, as a code that is kept and in words for people.  Pure."""

from enum import StrEnum


class Reason(StrEnum):
    """Stands in the audit trail; never reworded, at most 20 characters."""

    SIDECAR_WRONG = "sidecar-wrong"
    PERSON_UNKNOWN = "person-unknown"
    PERSON_AMBIGUOUS = "person-ambiguous"
    FILE_MISSING = "file-missing"
    FILE_TOO_LARGE = "file-too-large"
    KIND_UNKNOWN = "kind-unknown"
    KIND_DIFFERS = "kind-differs"
    NO_HEIC = "no-heic"
    READER_MISSING = "reader-missing"
    PATH_OUTSIDE = "path-outside"
    MODALITY_NEEDED = "modality-needed"
    MODALITY_UNFIT = "modality-unfit"
    AXES_NEEDED = "axes-needed"
    AXES_TOLD = "axes-told"
    HEADER_BROKEN = "header-broken"
    LENGTH_DIFFERS = "length-differs"
    TOO_MANY_VOXELS = "too-many-voxels"
    NOT_A_VOLUME = "not-a-volume"
    NOT_GREY = "not-grey"
    SPACING_WRONG = "spacing-wrong"
    AXES_SKEWED = "axes-skewed"
    AXES_DIFFER = "axes-differ"
    VALUES_WRONG = "values-wrong"
    PICTURE_BROKEN = "picture-broken"
    TOO_MANY_PIXELS = "too-many-pixels"
    PDF_ENCRYPTED = "pdf-encrypted"
    PDF_BROKEN = "pdf-broken"
    DISK_FULL = "disk-full"
    CONVERTER_FAILED = "converter-failed"
    TOO_LATE = "too-late"


WORDS: dict[Reason, tuple[str, str]] = {
    Reason.SIDECAR_WRONG: ("说明文件有误", "What is said about the file cannot be used"),
    Reason.PERSON_UNKNOWN: ("本站没有这个编号的人", "Nobody at this site has that identifier"),
    Reason.PERSON_AMBIGUOUS: (
        "有几个人的编号相同，请同时写明发放机构（issuer）",
        "Several people have that identifier: name its issuer too",
    ),
    Reason.FILE_MISSING: (
        "文件，或文件头所指的数据文件，不存在",
        "The file, or the data file that it names, is not there",
    ),
    Reason.FILE_TOO_LARGE: ("文件太大", "The file is too large"),
    Reason.KIND_UNKNOWN: (
        "不认识这种文件：可导入 MHD、MHA、NRRD、NIfTI、GIPL、VTI、JPEG、PNG、PDF",
        "This kind of file is not known: MHD, MHA, NRRD, NIfTI, GIPL, VTI, JPEG, PNG and PDF are",
    ),
    Reason.KIND_DIFFERS: ("内容与文件扩展名不符", "What is in the file is not what its name says"),
    Reason.NO_HEIC: (
        "不能读取 HEIC：请在手机相机设置中选“兼容性最佳”（JPEG），或先转成 JPEG",
        'HEIC cannot be read: set the phone\'s camera to "Most Compatible" (JPEG), or make a JPEG of it first',
    ),
    Reason.READER_MISSING: ("本机没有安装读取这种文件的软件", "What reads this kind of file is not installed here"),
    Reason.PATH_OUTSIDE: (
        "文件头指向别处：数据文件必须在同一文件夹内",
        "The header points elsewhere: its data file must lie in the same folder",
    ),
    Reason.MODALITY_NEEDED: (
        "文件没有说明是 CT 还是 MR：请写明检查类型（modality）",
        "The file does not say whether it is CT or MR: name the modality",
    ),
    Reason.MODALITY_UNFIT: (
        "这种文件不能作为该检查类型导入：体数据只能是 CT 或 MR，照片是 XC，PDF 是 DOC",
        "This file cannot be imported as that modality: volumes are CT or MR, photos XC, PDF DOC",
    ),
    Reason.AXES_NEEDED: (
        "文件没有说明哪边是病人的左侧：请查明后写明坐标方向（axes：LPS 或 RAS）",
        "The file does not say which side is the patient's left: find out, and name the axes (LPS or RAS)",
    ),
    Reason.AXES_TOLD: ("文件已说明坐标方向，请勿另写 axes", "The file says itself how it lies: leave the axes out"),
    Reason.HEADER_BROKEN: ("文件头读不懂，或不完整", "The file's header cannot be read, or is cut short"),
    Reason.LENGTH_DIFFERS: (
        "数据长度与文件头不符：文件不完整或已损坏",
        "The data are longer or shorter than the header says: the file is cut short or damaged",
    ),
    Reason.TOO_MANY_VOXELS: ("体数据太大，或尺寸不合理", "The volume is too large, or its dimensions are absurd"),
    Reason.NOT_A_VOLUME: ("不是三维体数据", "It is not a volume of three dimensions"),
    Reason.NOT_GREY: ("彩色或多分量的体数据不能导入", "Volumes in colour, or of several components, are not taken"),
    Reason.SPACING_WRONG: (
        "体素间距缺失或不合理（为零、负数或非数字）",
        "The distances between voxels are missing or absurd (zero, negative, or no number)",
    ),
    Reason.AXES_DIFFER: (
        "文件用两种方式说明坐标方向，两者互相矛盾（可能左右颠倒）",
        "The file says in two ways how it lies, and they contradict each other: left and right may be exchanged",
    ),
    Reason.AXES_SKEWED: ("坐标轴不互相垂直，不能导入", "Its axes are not at right angles: it cannot be imported"),
    Reason.VALUES_WRONG: (
        "数据中有无效数值（NaN 或无穷大）",
        "Among its values are some that are no numbers (NaN, or infinite)",
    ),
    Reason.PICTURE_BROKEN: ("图片读不出来，或不完整", "The picture cannot be read, or is cut short"),
    Reason.TOO_MANY_PIXELS: ("图片像素太多", "The picture has too many pixels"),
    Reason.PDF_ENCRYPTED: ("PDF 已加密：请先去掉密码", "The PDF is encrypted: take the password off first"),
    Reason.PDF_BROKEN: ("PDF 读不懂，或不完整", "The PDF cannot be read, or is cut short"),
    Reason.DISK_FULL: ("磁盘快满了，暂时不能导入", "The disk is nearly full: nothing can be imported now"),
    Reason.CONVERTER_FAILED: (
        "转换没有完成：文件可能已损坏，或超出了允许的内存",
        "The conversion broke off: the file may be damaged, or needs more memory than is allowed",
    ),
    Reason.TOO_LATE: ("转换用时太长", "The conversion took too long"),
}


class NotImported(Exception):
    """A file is not imported; nothing of it is stored."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        zh, en = WORDS[reason]
        super().__init__(f"{zh} / {en}" + (f" ({detail})" if detail else ""))
        self.reason, self.detail = reason, detail
