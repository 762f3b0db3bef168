"""Small slides in scanners' formats, written as their scanners do."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np
import simplejpeg
import tifffile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

if TYPE_CHECKING:
    from pathlib import Path

_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_TILED = {"tile": (256, 256), "photometric": "rgb"}


def halves(image: np.ndarray, levels: int) -> list[np.ndarray]:
    """An image and its smaller levels, each half the one before."""
    out = [image]
    for _ in range(levels - 1):
        side = out[-1].shape[1] // 2, out[-1].shape[0] // 2
        out.append(cv2.resize(out[-1], side, interpolation=cv2.INTER_AREA))
    return out


def write_aperio(path: Path, image: np.ndarray, *, mpp: float | None, levels: int = 2) -> None:
    """An .svs: tiled directories whose description begins with Aperio."""
    height, width = image.shape[:2]
    scale = "" if mpp is None else f"|AppMag = 20|MPP = {mpp}"
    text = f"Aperio Image Library v10.0.51\r\n{width}x{height} (256x256) JPEG/RGB Q=30{scale}"
    with tifffile.TiffWriter(path) as file:
        for level in halves(image, levels):
            file.write(level, description=text, metadata=None, **_TILED)


def write_leica(
    path: Path,
    image: np.ndarray,
    *,
    mpp: float,
    levels: int = 2,
    origin: tuple[int, int] = (0, 0),
) -> None:
    """An .scn: a collection of views in nm, each level a directory; its view begins at `origin`."""
    height, width = image.shape[:2]
    across, down = (round(side * mpp * 1000) for side in (width, height))
    left, top = (round(side * mpp * 1000) for side in origin)
    pyramid = halves(image, levels)
    dimensions = "".join(
        f'<dimension sizeX="{small.shape[1]}" sizeY="{small.shape[0]}" r="{r}" ifd="{r}"/>'
        for r, small in enumerate(pyramid)
    )
    text = f"""<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
<collection name="a" uuid="b" sizeX="{left + across - 1}" sizeY="{top + down - 1}">
<barcode>eA==</barcode>
<image name="i" uuid="c"><creationDate>2020-01-01T00:00:00Z</creationDate>
<device model="SCN400" version="1"/>
<pixels sizeX="{width}" sizeY="{height}">{dimensions}</pixels>
<view sizeX="{across}" sizeY="{down}" offsetX="{left}" offsetY="{top}" spacingZ="0"/>
<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>
<illuminationSettings><numericalAperture>0.4</numericalAperture>
<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings>
</image></collection></scn>"""
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, level in enumerate(pyramid):
            told = {"description": text} if number == 0 else {}
            per_cm = 1e4 / mpp / 2**number
            scale = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
            file.write(level, metadata=None, **told, **scale, **_TILED)


def write_ventana(path: Path, image: np.ndarray, *, mpp: float, levels: int = 2) -> None:
    """A .bif: a label, then levels whose 256 px tiles are joined edge to edge; at least 2 x 2.

    Tiles are numbered from the bottom row up, every other row backwards. Without a joint in either
    direction OpenSlide 4.0 never comes back: it divides the overlaps by a weight of none.
    """
    down, across = image.shape[0] // 256, image.shape[1] // 256

    def number(column: int, row: int) -> int:
        up = down - 1 - row
        return up * across + (across - 1 - column if up % 2 else column) + 1

    def joint(direction: str, one: tuple[int, int], two: tuple[int, int]) -> str:
        return (
            f'<TileJointInfo FlagJoined="1" Confidence="100" Direction="{direction}" '
            f'Tile1="{number(*one)}" Tile2="{number(*two)}" OverlapX="0" OverlapY="0"/>'
        )

    places = [(column, row) for row in range(down) for column in range(across)]
    joints = [joint("RIGHT", (c, r), (c + 1, r)) for c, r in places if c + 1 < across]
    joints += [joint("UP", (c, r), (c, r - 1)) for c, r in places if r > 0]
    scan = f'<iScan Magnification="20" ScanRes="{mpp}" ScannerModel="VENTANA DP 200"/>'
    stitched = (
        '<EncodeInfo Ver="2"><SlideStitchInfo><ImageInfo AOIScanned="1" Width="256" Height="256" '
        f'NumCols="{across}" NumRows="{down}" Pos-X="0" Pos-Y="0">{"".join(joints)}</ImageInfo>'
        '</SlideStitchInfo><AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    )

    def tags(text: str) -> list[tuple[int, int, int, bytes, bool]]:
        return [(700, 1, len(text), text.encode(), True)]

    with tifffile.TiffWriter(path, bigtiff=True) as file:
        label = np.full((64, 64, 3), 255, np.uint8)
        file.write(label, description="Label_Image", metadata=None, extratags=tags(scan))
        for level, pixels in enumerate(halves(image, levels)):
            text = f"level={level} mag={20 / 2**level:g} quality=95"
            own = {"extratags": tags(stitched)} if level == 0 else {}
            file.write(pixels, description=text, metadata=None, **own, **_TILED)


def write_mirax(path: Path, image: np.ndarray, *, mpp: float, levels: int = 2) -> None:
    """An .mrxs with its folder: PNG images of 256 px in one data file, an index that finds them."""
    side, name = 256, "0123456789ABCDEF0123456789ABCDEF"
    down, across = image.shape[0] // side, image.shape[1] // side
    folder = path.with_suffix("")
    folder.mkdir()
    data, pages, sections = b"", [], []
    for level, pixels in enumerate(halves(image, levels)):
        page = []
        for row in range(-(-pixels.shape[0] // side)):
            for column in range(-(-pixels.shape[1] // side)):
                tile = np.full((side, side, 3), 255, np.uint8)
                part = pixels[row * side : (row + 1) * side, column * side : (column + 1) * side]
                tile[: part.shape[0], : part.shape[1]] = part
                png = cv2.imencode(".png", tile[..., ::-1])[1].tobytes()
                # Numbered on the first level's grid, where an image of level n covers 2^n squared.
                number = (row * across + column) * 2**level
                page.append(struct.pack("<4i", number, len(data), len(png), 0))
                data += png
        pages.append(struct.pack("<2i", len(page), 0) + b"".join(page))
        sections.append(
            f"[LEVEL_{level}]\nIMAGE_CONCAT_FACTOR={min(level, 1)}\nOVERLAP_X=0\nOVERLAP_Y=0\n"
            f"MICROMETER_PER_PIXEL_X={mpp * 2**level}\nMICROMETER_PER_PIXEL_Y={mpp * 2**level}\n"
            f"IMAGE_FILL_COLOR_BGR=16777215\nDIGITIZER_WIDTH={side}\nDIGITIZER_HEIGHT={side}\n"
            "IMAGE_FORMAT=PNG\n"
        )
    named = "".join(f"HIER_0_VAL_{n}_SECTION=LEVEL_{n}\n" for n in range(levels))
    (folder / "Slidedat.ini").write_text(
        f"[GENERAL]\nSLIDE_ID={name}\nIMAGENUMBER_X={across}\nIMAGENUMBER_Y={down}\n"
        "OBJECTIVE_MAGNIFICATION=20\nCameraImageDivisionsPerSide=1\n"
        "[HIERARCHICAL]\nHIER_COUNT=1\nNONHIER_COUNT=0\nINDEXFILE=Index.dat\n"
        f"HIER_0_NAME=Slide zoom level\nHIER_0_COUNT={levels}\n{named}"
        f"[DATAFILE]\nFILE_COUNT=1\nFILE_0=Data0000.dat\n{''.join(sections)}",
        encoding="utf-8",
    )
    (folder / "Data0000.dat").write_bytes(data)
    # Two roots; a pointer a level; at each a zero and a pointer to the page of its images.
    start = len(b"01.02") + len(name) + 8
    heads = start + 4 * levels
    at = heads + 8 * levels
    pointers = [heads + 8 * level for level in range(levels)]
    places = [at + sum(map(len, pages[:level])) for level in range(levels)]
    index = struct.pack("<2i", start, 0) + struct.pack(f"<{levels}i", *pointers)
    index += b"".join(struct.pack("<2i", 0, place) for place in places) + b"".join(pages)
    (folder / "Index.dat").write_bytes(b"01.02" + name.encode() + index)
    path.write_bytes(b"a thumbnail")


def write_hamamatsu(path: Path, image: np.ndarray, *, mpp: float, levels: int = 2) -> None:
    """An .ndpi: each level one JPEG, with the tags of the scanner."""
    pages = []
    for number, level in enumerate(halves(image, levels)):
        height, width = level.shape[:2]
        per_cm = round(1e4 / mpp / 2**number)
        tags = [
            (256, "I", [width]), (257, "I", [height]), (258, "H", [8, 8, 8]), (259, "H", [7]),
            (262, "H", [6]), (271, "s", b"Hamamatsu"), (277, "H", [3]), (278, "I", [height]),
            (282, "r", [per_cm, 1]), (283, "r", [per_cm, 1]), (296, "H", [3]), (65420, "I", [1]),
            (65421, "f", [20 / 2**number]), (65422, "i", [0]), (65423, "i", [0]), (65424, "i", [0]),
        ]  # fmt: skip
        pages.append((tags, _jpeg(level)))
    path.write_bytes(_tiff(pages))


def _jpeg(pixels: np.ndarray) -> bytes:
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=98, colorspace="RGB", colorsubsampling="444"
    )


_TIFF_TYPES = {"s": 2, "H": 3, "I": 4, "r": 5, "i": 9, "f": 11}


def _tiff(pages: list[tuple[list, bytes]]) -> bytes:
    """A TIFF of pages: tags as (number, type, values), and the one strip as it is stored."""
    out, link = bytearray(b"II*\0\0\0\0\0"), 4
    for tags, strip in pages:
        place = len(out)
        out += strip + b"\0" * (len(strip) % 2)
        entries = b""
        every = sorted([*tags, (273, "I", [place]), (279, "I", [len(strip)])], key=lambda t: t[0])
        for number, kind, values in every:
            code = {"r": "I"}.get(kind, kind)
            raw = values + b"\0" if kind == "s" else struct.pack(f"<{len(values)}{code}", *values)
            count = {"s": len(raw), "r": 1}.get(kind, len(values))
            if len(raw) > 4:
                place = len(out)
                out += raw + b"\0" * (len(raw) % 2)
                raw = struct.pack("<I", place)
            entries += struct.pack("<HHI", number, _TIFF_TYPES[kind], count) + raw.ljust(4, b"\0")
        struct.pack_into("<I", out, link, len(out))
        out += struct.pack("<H", len(every)) + entries
        link = len(out)
        out += b"\0\0\0\0"
    return bytes(out)


def write_dicom(
    folder: Path, image: np.ndarray, *, mpp: float, levels: int = 2, jpeg: bool = False
) -> None:
    """A DICOM series: a file a level, frames of 256x256 pixels, uncompressed or as JPEG."""
    folder.mkdir()
    series = {name: generate_uid() for name in ("Study", "Series")}
    frame = generate_uid()
    for number, level in enumerate(halves(image, levels)):
        _write_level(folder / f"{number}.dcm", level, series, frame, mpp=mpp * 2**number, jpeg=jpeg)


def _write_level(
    path: Path, level: np.ndarray, series: dict[str, str], frame: str, *, mpp: float, jpeg: bool
) -> None:
    height, width = level.shape[:2]
    rows, columns = -(-height // 256), -(-width // 256)
    padded = np.full((rows * 256, columns * 256, 3), 255, np.uint8)
    padded[:height, :width] = level
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = _WHOLE_SLIDE
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = series["Study"], series["Series"]
    data.FrameOfReferenceUID = frame
    data.Modality = "SM"
    derived = "ORIGINAL" if path.stem == "0" else "DERIVED"
    data.ImageType = [derived, "PRIMARY", "VOLUME", "NONE" if path.stem == "0" else "RESAMPLED"]
    data.DimensionOrganizationType = "TILED_FULL"
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows = width, height
    data.TotalPixelMatrixFocalPlanes = 1
    data.Rows = data.Columns = 256
    data.NumberOfFrames = rows * columns
    data.SamplesPerPixel, data.PlanarConfiguration = 3, 0
    data.PhotometricInterpretation = "YBR_FULL_422" if jpeg else "RGB"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [mpp / 1000, mpp / 1000]
    shared.PixelMeasuresSequence = Sequence([measures])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = padded.reshape(rows, 256, columns, 256, 3).swapaxes(1, 2)
    if jpeg:
        data.PixelData = encapsulate([_jpeg(one) for row in frames for one in row])
    else:
        data.PixelData = frames.tobytes()
    data["PixelData"].VR = "OB"
    data.save_as(path, enforce_file_format=True)
