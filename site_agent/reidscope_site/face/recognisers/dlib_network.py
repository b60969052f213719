"""dlib's face recogniser, for whoever installed the extra `dlib`.

dlib reads its own format from a path alone, so the bytes are laid into a private temporary file for
as long as that takes. A dlib file holds the weights of a network that dlib itself describes: no
code, no names of files.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import numpy as np

from reidscope_protocols.errors import UnsupportedError
from reidscope_site.face.recognisers.network import no_network, size_allowed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_protocols.recogniser import RecogniserPart

_CHIP_PX = 150


class DlibNetwork:
    """dlib's `face_recognition_model_v1`.

    Parameters
    ----------
    content : bytes
        The file, its sha256 checked.
    part : RecogniserPart
        What the study says of it.

    Raises
    ------
    UnsupportedError
        If dlib is not installed.
    MalformedError
        If dlib cannot read the file, or the study declares other chips than dlib's.
    """

    def __init__(self, content: bytes, part: RecogniserPart) -> None:
        size_allowed(content, part)
        try:
            # imported here: an extra that most sites do without
            import dlib  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise UnsupportedError(
                "a recogniser of dlib's",
                got="no dlib",
                expected="the extra `dlib`",
                do="pip install 'reidscope[dlib]'",
            ) from error
        if part.input_px != _CHIP_PX or part.channels == 1:
            raise no_network(part, f"dlib, which takes {_CHIP_PX} x {_CHIP_PX} in colour")
        self._part = part
        with tempfile.NamedTemporaryFile(suffix=".dat") as file:
            file.write(content)
            file.flush()
            try:
                self._network = dlib.face_recognition_model_v1(file.name)
            except RuntimeError:
                # its text names the temporary file, so it is dropped
                raise no_network(part, "a file that dlib cannot load") from None

    def describe(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Numbers of one face, (1, 150, 150, 3) of 0 to 255; see `Network`.

        Privacy
        -------
        A function of this one face and the weights (docs/privacy.md, "One person, one cell").
        """
        face = np.ascontiguousarray(blob.reshape(_CHIP_PX, _CHIP_PX, -1).astype(np.uint8))
        return np.array(self._network.compute_face_descriptor(face), dtype=np.float32)
