"""An agent that waits is small: image libraries are for the child that evaluates people."""

from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import json, pathlib, sys
import reidscope_site.indexing, reidscope_site.serve, reidscope_site.verbs
heavy = [name for name in ("torch", "cv2", "onnxruntime", "skimage") if name in sys.modules]
said = pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
peak = int(said) // 1024
print(json.dumps([heavy, peak]))
"""


def test_an_agent_that_waits_loads_no_image_library_and_stays_below_two_hundred_mb() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    heavy, peak_mb = json.loads(done.stdout.splitlines()[-1])
    assert heavy == []
    assert peak_mb < 200
