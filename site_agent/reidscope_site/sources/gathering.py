"""All of a site's sources together: one listing of people, whatever their scans are stored as."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reidscope_deid.keys import SiteKey
from reidscope_protocols.errors import NoDicomError
from reidscope_site.config import Home, SiteConfig
from reidscope_site.exclude import NOBODY, OptOuts
from reidscope_site.sources.bids import list_bids
from reidscope_site.sources.dicom_folder import list_folder
from reidscope_site.sources.header_index import HeaderIndex
from reidscope_site.sources.listing import Listing, Progress, ScanSeries

if TYPE_CHECKING:
    from reidscope_site.sources.fetching import LeftThere


def gather(
    config: SiteConfig,
    home: Home,
    key: SiteKey,
    *,
    index: HeaderIndex,
    progress: Progress | None = None,
    opt_outs: OptOuts = NOBODY,
) -> Listing:
    """List the series of everybody, in every source that the site names.

    A person of the DICOM folder and of the archive is one person under one PatientID; a BIDS
    participant is known by the label alone, `sub-01`.

    Raises
    ------
    InputError
        A source holds nobody.
    TransportError
        The archive does not answer as DICOMweb says.
    """
    folders = [Path(config.dicom)] if config.dicom else []
    undelivered = 0
    left: tuple[LeftThere, ...] = ()
    if config.dicomweb:
        # The client takes time to load: only sites with an archive wait for it.
        from reidscope_site.sources.dicomweb import Archive  # noqa: PLC0415 - said above
        from reidscope_site.sources.fetching import fetch  # noqa: PLC0415 - said above

        with Archive.of(config) as archive:
            fetched = fetch(
                archive, home.fetched, key, index=index, progress=progress, opt_outs=opt_outs
            )
        left, undelivered = fetched.left, fetched.undelivered
        if any(home.fetched.iterdir()):
            folders.append(home.fetched)
    elif home.fetched.is_dir():
        # A site that names no archive any more keeps nothing of it.
        shutil.rmtree(home.fetched)
    listings = []
    if folders:
        listings.append(list_folder(*folders, index=index, progress=progress))
    if config.bids:
        listings.append(list_bids(Path(config.bids), index=index, progress=progress))
    return replace(_together(listings, left, undelivered), undelivered=undelivered)


def _together(listings: Sequence[Listing], left: Sequence[LeftThere], undelivered: int) -> Listing:
    series: dict[str, tuple[ScanSeries, ...]] = {}
    for listing in listings:
        for patient, held in listing.series.items():
            series[patient] = (*series.get(patient, ()), *held)
    for one in left:
        series[one.patient_id] = (*series.get(one.patient_id, ()), one.series)
    if not series and undelivered:
        raise NoDicomError(
            "the archive",
            got=f"{undelivered} series that it lists and does not deliver whole, or without a name",
            expected="the files of every series, and whose they are",
            do="ask whoever runs the archive",
        )
    if not series:
        raise NoDicomError(
            "the archive",
            got="no series of a head",
            expected="CT or MR series of heads",
            do="look at dicomweb_query in site.toml",
        )
    return Listing(
        series={patient: series[patient] for patient in sorted(series)},
        skipped=sum(listing.skipped for listing in listings),
        unopened=sum(listing.unopened for listing in listings),
        shared=frozenset().union(*(listing.shared for listing in listings)),
    )
