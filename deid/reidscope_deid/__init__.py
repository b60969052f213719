"""De-identification: DICOM in, DICOM out; usable on its own."""

from reidscope_deid.audit import AuditReport, audit_output
from reidscope_deid.keys import SiteKey, generate_key, load_key
from reidscope_deid.profile import Profile, load_profile
from reidscope_deid.pseudonyms import Pseudonym, pseudonym
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.record import Record
from reidscope_deid.series import DeidentifiedSeries, deidentify_files
from reidscope_deid.tree import deidentify_tree

__all__ = [
    "AuditReport",
    "DeidentifiedSeries",
    "Profile",
    "Pseudonym",
    "QuarantinedError",
    "Reason",
    "Record",
    "SiteKey",
    "audit_output",
    "deidentify_files",
    "deidentify_tree",
    "generate_key",
    "load_key",
    "load_profile",
    "pseudonym",
]
