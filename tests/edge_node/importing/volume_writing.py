"""One asymmetric volume in every format, written by hand as the formats are described: no code of the readers."""

import gzip
import struct
import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LPS_OF_RAS = np.diag([-1.0, -1.0, 1.0])


def _voxels() -> NDArray[np.int16]:
    return (np.arange(3 * 4 * 5, dtype=np.int16) * 7 - 100).reshape(3, 4, 5)


def _directions() -> NDArray[np.float64]:
    """A turn about no axis of the volume: no two columns can be mistaken for each other."""
    turn_z, turn_x = np.deg2rad(20), np.deg2rad(-35)
    z = np.array([[np.cos(turn_z), -np.sin(turn_z), 0], [np.sin(turn_z), np.cos(turn_z), 0], [0, 0, 1]])
    x = np.array([[1, 0, 0], [0, np.cos(turn_x), -np.sin(turn_x)], [0, np.sin(turn_x), np.cos(turn_x)]])
    return np.asarray(z @ x)


@dataclass(frozen=True, slots=True)
class Phantom:
    """What is written; places and directions are to the patient's left, back and head."""

    voxels: NDArray[np.generic] = field(default_factory=_voxels)
    """[slice, row, column]."""
    origin_mm: tuple[float, float, float] = (11.0, -22.5, 33.25)
    spacing_mm: tuple[float, float, float] = (0.5, 0.75, 2.0)
    directions: NDArray[np.float64] = field(default_factory=_directions)

    @property
    def size(self) -> str:
        """Columns, rows and slices, as headers write them."""
        return " ".join(str(each) for each in self.voxels.shape[::-1])

    def place_mm(self, at: tuple[int, int, int]) -> NDArray[np.float64]:
        """Return where a voxel [slice, row, column] lies."""
        return np.asarray(self.origin_mm + self.directions @ (np.array(at[::-1]) * self.spacing_mm))


def texts(numbers: object) -> str:
    return " ".join(f"{each:.12g}" for each in np.ravel(numbers))  # type: ignore[call-overload]


def little(phantom: Phantom) -> bytes:
    return phantom.voxels.astype(phantom.voxels.dtype.newbyteorder("<")).tobytes()


def mhd(phantom: Phantom, data_file: str = "LOCAL", **changes: str) -> bytes:
    """A MetaImage header; `changes` replace lines, empty ones leave them out."""
    kinds = {"int16": "MET_SHORT", "uint8": "MET_UCHAR", "float32": "MET_FLOAT"}
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": texts(phantom.directions.T),
        "Offset": texts(phantom.origin_mm),
        "ElementSpacing": texts(phantom.spacing_mm),
        "DimSize": phantom.size,
        "ElementType": kinds[phantom.voxels.dtype.name],
        **changes,
        "ElementDataFile": data_file,
    }
    return "".join(f"{name} = {value}\n" for name, value in lines.items() if value).encode()


def mha(phantom: Phantom, **changes: str) -> bytes:
    return mhd(phantom, **changes) + little(phantom)


def nrrd(phantom: Phantom, space: str = "left-posterior-superior", data_file: str = "", **changes: str) -> bytes:
    """An NRRD file, its data raw or as `encoding` says; space empty: none is told."""
    kinds = {"int16": "short", "uint8": "uchar", "float32": "float"}
    turned = LPS_OF_RAS if space.startswith("right-anterior") else np.eye(3)
    axes = (turned @ phantom.directions * phantom.spacing_mm).T
    vectors = " ".join("(" + ",".join(f"{each:.12g}" for each in axis) + ")" for axis in axes)
    origin = ",".join(f"{each:.12g}" for each in turned @ np.array(phantom.origin_mm))
    placed = {"space": space, "space directions": vectors, "space origin": f"({origin})"}
    lines = {
        "type": kinds[phantom.voxels.dtype.name],
        "dimension": "3",
        "sizes": phantom.size,
        "endian": "little",
        "encoding": "raw",
        **(placed if space else {"spacings": texts(phantom.spacing_mm)}),
        **changes,
    }
    told = "".join(f"{name}: {value}\n" for name, value in lines.items() if value)
    data = little(phantom)
    packed = {"gzip": lambda: gzip.compress(data), "raw": lambda: data}[lines["encoding"]]()
    if data_file:
        return f"NRRD0004\n{told}data file: {data_file}\n\n".encode()
    return f"NRRD0004\n{told}\n".encode() + packed


def nifti(
    phantom: Phantom, codes: tuple[int, int] = (0, 1), order: str = "<", scale: tuple[float, float] = (0, 0)
) -> bytes:
    """A NIfTI-1 file whose matrix (sform) says how it lies, in right, front and head."""
    types = {"int16": (4, 16), "uint8": (2, 8), "float32": (16, 32)}
    head = bytearray(352)
    shape = phantom.voxels.shape[::-1]
    struct.pack_into(f"{order}i", head, 0, 348)
    struct.pack_into(f"{order}8h", head, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into(f"{order}2h", head, 70, *types[phantom.voxels.dtype.name])
    struct.pack_into(f"{order}8f", head, 76, 1, *phantom.spacing_mm, 1, 0, 0, 0)
    struct.pack_into(f"{order}3f", head, 108, 352, *scale)
    struct.pack_into(f"{order}2h", head, 252, *codes)
    matrix = LPS_OF_RAS @ (phantom.directions * phantom.spacing_mm)
    for row, (axis, place) in enumerate(zip(matrix, LPS_OF_RAS @ np.array(phantom.origin_mm), strict=True)):
        struct.pack_into(f"{order}4f", head, 280 + 16 * row, *axis, place)
    head[344:348] = b"n+1\0"
    return bytes(head) + phantom.voxels.astype(phantom.voxels.dtype.newbyteorder(order)).tobytes()  # type: ignore[arg-type]


def gipl(phantom: Phantom) -> bytes:
    """A GIPL file; it cannot say how it lies."""
    head = bytearray(256)
    struct.pack_into(">4H", head, 0, *phantom.voxels.shape[::-1], 1)
    struct.pack_into(">H", head, 8, {"int16": 15, "uint8": 8}[phantom.voxels.dtype.name])
    struct.pack_into(">4f", head, 10, *phantom.spacing_mm, 1)
    struct.pack_into(">I", head, 252, 719555000)
    return bytes(head) + phantom.voxels.astype(phantom.voxels.dtype.newbyteorder(">")).tobytes()


def vti(phantom: Phantom, first: int = 0, cut: int = 0, **changes: str) -> bytes:
    """A VTI file with its data appended raw and compressed; `first` is the index of its first column."""
    columns, rows, slices = phantom.voxels.shape[::-1]
    extent = f"{first} {first + columns - 1} 0 {rows - 1} 0 {slices - 1}"
    kinds = {"int16": "Int16", "uint8": "UInt8", "float32": "Float32"}
    origin = np.array(phantom.origin_mm) - phantom.directions[:, 0] * phantom.spacing_mm[0] * first
    told = {
        "WholeExtent": extent,
        "Origin": texts(origin),
        "Spacing": texts(phantom.spacing_mm),
        "Direction": texts(phantom.directions),
        **changes,
    }
    attributes = " ".join(f'{name}="{value}"' for name, value in told.items())
    raw = little(phantom)
    packed = zlib.compress(raw)
    data = struct.pack("<4Q", 1, len(raw), 0, len(packed)) + packed
    head = (
        '<?xml version="1.0"?>\n<VTKFile type="ImageData" version="2.2" byte_order="LittleEndian" header_type="UInt64" '
        f'compressor="vtkZLibDataCompressor"><ImageData {attributes}><Piece Extent="{extent}"><PointData Scalars="v">'
        f'<DataArray type="{kinds[phantom.voxels.dtype.name]}" Name="v" format="appended" offset="0"/></PointData>'
        '<CellData/></Piece></ImageData><AppendedData encoding="raw">_'
    )
    return head.encode() + data[: len(data) - cut] + b"</AppendedData></VTKFile>"
