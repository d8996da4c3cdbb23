"""A PDF as an Encapsulated PDF, byte for byte as it is; in the converting process alone."""

from pathlib import Path

import pypdf
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from edge_node.importing import heading
from edge_node.importing.order import DOCUMENT, Order
from edge_node.importing.reasons import NotImported, Reason

LARGEST_BYTES = 128 * 1024 * 1024


def made(order: Order, path: Path) -> Dataset:
    """Return the object of a PDF.

    Raises:
        NotImported: encrypted, broken, too large, or it is to be another modality.
        OSError: the file cannot be read.
    """
    if order.modality not in ("", DOCUMENT):
        raise NotImported(Reason.MODALITY_UNFIT)
    if path.stat().st_size > LARGEST_BYTES:
        raise NotImported(Reason.FILE_TOO_LARGE)
    by = _looked_at(path)
    found = heading.headed(order, EncapsulatedPDFStorage, "document", by)
    found.Modality = DOCUMENT
    heading.in_series(found, order, 1, order.description or "PDF")
    found.ConversionType = "WSD"
    found.InstanceNumber, found.ContentDate, found.ContentTime, found.AcquisitionDateTime = 1, order.study_date, "", ""
    # It may name the person on every page, and nobody has looked.
    found.BurnedInAnnotation = "YES"
    found.DocumentTitle, found.ConceptNameCodeSequence = order.description, []
    found.MIMETypeOfEncapsulatedDocument = "application/pdf"
    whole = path.read_bytes()
    found.EncapsulatedDocumentLength = len(whole)
    found.EncapsulatedDocument = whole + bytes(len(whole) % 2)
    return found


def _looked_at(path: Path) -> str:
    """Pass where a PDF opens without a password and has pages; return what looked.

    Raises:
        NotImported: it does not.
    """
    try:
        reader = pypdf.PdfReader(path, strict=False)
        if reader.is_encrypted:
            raise NotImported(Reason.PDF_ENCRYPTED)
        if not len(reader.pages):
            raise NotImported(Reason.PDF_BROKEN)
    except (NotImported, MemoryError):
        raise
    except Exception as error:  # the library raises whatever it likes at what strangers wrote
        raise NotImported(Reason.PDF_BROKEN) from error
    return f"pypdf {pypdf.__version__}"
