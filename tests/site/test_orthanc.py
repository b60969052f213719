"""A real archive over DICOMweb: Orthanc."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.site.archives import site

from reidscope_site.indexing import index
from reidscope_site.sources.reading import read_scan

Series = Callable[..., tuple[Path, ...]]

ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[str]:
    """A real archive on this machine alone, with storage of its own."""
    if ORTHANC is None:
        pytest.skip("Orthanc is not installed (Debian: orthanc and orthanc-dicomweb)")
    with socket.socket() as free, socket.socket() as other:
        free.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, dicom = free.getsockname()[1], other.getsockname()[1]
    settings = {
        "Name": "test",
        "StorageDirectory": str(tmp_path / "storage"),
        "IndexDirectory": str(tmp_path / "storage"),
        "HttpPort": port,
        "DicomPort": dicom,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "HttpBindAddresses": ["127.0.0.1"],
        "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    with (tmp_path / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            [ORTHANC, tmp_path / "orthanc.json"], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            base = f"http://127.0.0.1:{port}"
            for _ in range(200):
                assert process.poll() is None, (tmp_path / "orthanc.log").read_text()[-2000:]
                try:
                    if httpx.get(f"{base}/system", timeout=1, trust_env=False).is_success:
                        break
                except httpx.HTTPError:
                    time.sleep(0.1)
            yield base
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.mark.slow
def test_a_real_orthanc_is_indexed_and_a_volume_read(
    tmp_path: Path, series: Series, orthanc: str
) -> None:
    for number, changes in enumerate(
        [
            {"SeriesDate": "20190101", "StudyInstanceUID": "1.2.3.1"},
            {"SeriesDate": "20200101", "StudyInstanceUID": "1.2.3.2"},
            {"BodyPartExamined": "KNEE", "StudyInstanceUID": "1.2.3.3"},
            {"Modality": "PT", "StudyInstanceUID": "1.2.3.4"},
        ]
    ):
        for path in series(tmp_path / "up" / str(number), f"ID-{number // 2}", **changes):
            sent = httpx.post(f"{orthanc}/instances", content=path.read_bytes(), trust_env=False)
            assert sent.is_success
    agent = site(tmp_path, f"{orthanc}/dicom-web")
    found = index(agent)
    (person,) = found.resolution.people
    assert [scan.taken for scan in person.scans] == ["20190101", "20200101"]
    assert found.resolution.series == {
        "taken": 2,
        "not-a-head": 1,
        "pet-not-attenuation-corrected": 1,
    }
    (tmp_path / "work").mkdir()
    volume = read_scan(person.first, key=agent.site_key, work=tmp_path / "work")
    assert volume.voxels.shape == (16, 16, 12)
    assert sorted({float(plane.mean()) for plane in volume.voxels.T}) == [*map(float, range(12))]
    assert index(agent).read == 0
    agent.close()
