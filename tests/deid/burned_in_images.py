"""Images with text in known places, and DICOM files of them in every encoding."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import gdcm
import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, SecondaryCaptureImageStorage

from reidscope_deid.burned_in.mask import Box
from reidscope_deid.part10 import Opened, open_part10

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from reidscope_deid.pixel_change import PixelChange

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
RLE, JPEG, JPEG_12 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS, JPEG_LS = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
ROOT = "1.2.826.0.1.3680043.8.498.8"
WORDS = ("DOE^JANE MARIA", "MRN 00421337", "1971-08-23")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A picture and where its text is."""

    picture: NDArray[Any]
    boxes: tuple[Box, ...]


def texture(rows: int, columns: int, low: int, high: int, seed: int = 0) -> NDArray[np.uint8]:
    """Speckle over slow shades, as tissue has."""
    rng = np.random.default_rng(seed)
    fine = cv2.GaussianBlur(rng.normal(size=(rows, columns)), (0, 0), 3)
    slow = cv2.GaussianBlur(rng.normal(size=(rows, columns)), (0, 0), 20)
    both = fine / fine.std() + 2 * slow / slow.std()
    both = (both - both.min()) / (both.max() - both.min())
    return (low + both * (high - low)).astype(np.uint8)


def drawn(
    picture: NDArray[Any], value: int = 255, *, size: float = 0.5, at: tuple[int, int] = (30, 20)
) -> Drawn:
    """Write three lines into a copy of a grey picture."""
    new = picture.copy()
    boxes = []
    top, left = at
    for line, text in enumerate(WORDS):
        (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        foot = top + line * 3 * height
        ink = np.zeros(picture.shape, np.uint8)
        cv2.putText(ink, text, (left, foot), cv2.FONT_HERSHEY_SIMPLEX, size, 255, 1, cv2.LINE_AA)
        new = np.where(ink > 100, value, new).astype(picture.dtype)
        boxes.append(Box(foot - height, left, foot + base, left + width))
    return Drawn(picture=new, boxes=tuple(boxes))


def ultrasound() -> Drawn:
    """A fan of speckle under a black strip that names somebody."""
    rows, columns = 480, 640
    fan = np.zeros((rows, columns), np.uint8)
    cv2.ellipse(fan, (320, 110), (330, 330), 0, 50, 130, 1, -1)
    fan[:110] = 0
    return drawn(texture(rows, columns, 10, 200) * fan, 255, at=(20, 10))


def data_set(array: NDArray[Any], syntax: str = EXPLICIT, **changes: object) -> Dataset:
    """A secondary capture of an array: (frames, rows, columns[, 3])."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.3"
    ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, f"{ROOT}.3"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.2"
    ds.PatientID, ds.Modality = "MRN-0042", "OT"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.NumberOfFrames, ds.Rows, ds.Columns = array.shape[:3]
    ds.SamplesPerPixel = 3 if array.ndim == 4 else 1
    ds.PhotometricInterpretation = "RGB" if array.ndim == 4 else "MONOCHROME2"
    if array.ndim == 4:
        ds.PlanarConfiguration = 0
    bits = array.dtype.itemsize * 8
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def native(array: NDArray[Any], syntax: str = EXPLICIT, **changes: object) -> bytes:
    """A file with native pixels; the array is in the order of the bytes."""
    raw = changes.pop("PixelData", None)
    shape = changes.pop("shape", None)
    ds = data_set(array if shape is None else np.empty(shape, array.dtype), syntax, **changes)  # type: ignore[call-overload] # a shape from a test
    order = ">" if syntax == BIG else "<"
    value = (
        raw if isinstance(raw, bytes) else array.astype(array.dtype.newbyteorder(order)).tobytes()
    )
    ds.PixelData = value + b"\0" * (len(value) & 1)
    ds["PixelData"].VR = "OW" if array.dtype.itemsize == 2 else "OB"
    return saved(ds)


def encapsulated(frames: list[bytes], array: NDArray[Any], syntax: str, **changes: object) -> bytes:
    """A file with compressed frames."""
    ds = data_set(array, syntax, **changes)
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return saved(ds)


def regions(*boxes: Box) -> Sequence:
    """Ultrasound regions; their last row and column are within them."""
    items = []
    for box in boxes:
        item = Dataset()
        item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
        item.RegionLocationMinX0, item.RegionLocationMinY0 = box.left, box.top
        item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box.right - 1, box.bottom - 1
        items.append(item)
    return Sequence(items)


def saved(ds: Dataset) -> bytes:
    """Bytes of a file."""
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def opened(content: bytes) -> Opened:
    """A file as the engine opens it."""
    return open_part10(content)


def frames_of(content: bytes) -> bytes:
    """Items of encapsulated Pixel Data, without its delimiter."""
    element = next(one for one in opened(content).elements if one.tag == 0x7FE00010)
    return content[element.value : element.stop]


def jpeg(picture: NDArray[np.uint8], **settings: Any) -> bytes:
    """A picture as JPEG, by libjpeg, without the comment and the segments that Pillow adds."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", **settings)
    return stream.getvalue()


def recompressed(content: bytes, syntax: str, folder: Path) -> bytes:
    """A native file, compressed by GDCM."""
    source, target = folder / "source.dcm", folder / "target.dcm"
    source.write_bytes(content)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target.read_bytes()


def in_three_scans(planes: list[bytes]) -> bytes:
    """A colour stream of three grey ones: each component in a scan of its own, 4:4:4."""
    segments = [_segments(plane) for plane in planes]
    frame = bytearray(dict(segments[0])[0xC0])
    frame[5:] = bytes([3, 1, 0x11, 0, 2, 0x11, 1, 3, 0x11, 2])
    new = [b"\xff\xd8"]
    for number, parts in enumerate(segments):
        table = dict(parts)[0xDB]
        new.append(_segment(0xDB, bytes([number]) + table[1:]))
    new.append(_segment(0xC0, bytes(frame)))
    for number, (plane, parts) in enumerate(zip(planes, segments, strict=True)):
        new += [_segment(marker, content) for marker, content in parts if marker == 0xC4]
        new.append(_segment(0xDA, bytes([1, number + 1, 0, 0, 63, 0])))
        new.append(plane[plane.index(b"\xff\xda") + 10 : -2])
    return b"".join(new) + b"\xff\xd9"


def _segments(stream: bytes) -> list[tuple[int, bytes]]:
    at, found = 2, []
    while stream[at + 1] != 0xDA:
        length = int.from_bytes(stream[at + 2 : at + 4], "big")
        found.append((stream[at + 1], stream[at + 4 : at + 2 + length]))
        at += 2 + length
    return found


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def rewritten(content: bytes, change: PixelChange) -> bytes:
    """A file with the pixels and the elements of a change, written by pydicom."""
    ds = dcmread(io.BytesIO(content))
    assert change.samples is not None
    for tag, new in change.elements.items():
        if new is None:
            ds.pop(tag, None)
        else:
            vr, raw = new[0].decode("ascii"), new[1]
            value: object = int.from_bytes(raw, "little") if vr == "US" else raw.decode("ascii")
            ds.add_new(tag, vr, value)
    ds.file_meta.TransferSyntaxUID = UID(change.samples.syntax)
    ds.PixelData = bytes(change.samples.value)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    ds["PixelData"].is_undefined_length = change.samples.encapsulated
    return saved(ds)
