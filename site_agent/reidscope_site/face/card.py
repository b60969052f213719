"""Whether a public gallery is compared on a graphics card: where one is there and it pays.

Products of 8-bit numbers are exact integers: a card changes the time and no bit (`compare`), so
that a study need not say which machine compares. Describing faces is floating point and stays on
the processor, whatever the machine has.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reidscope_site.face.products_cuda import Resident

WORTH = 1 << 32
"""Products for one person and reading from which a card is worth its start, of some seconds: a
processor's core takes a tenth of a second for them, or several."""


def on_card(gallery: NDArray[np.int8], *, vectors: int) -> Resident | None:
    """Bring a public gallery to the card for the whole run; None where that does not pay.

    Parameters
    ----------
    gallery : ndarray of int8
        (M, d).
    vectors : int
        Of a person: one, or one a render where the best one counts.

    Returns
    -------
    Resident or None
        None without a card too, and on one without room: the processor gives the same bits.

    Privacy
    -------
    Sees a public gallery and no person (docs/privacy.md, "Exact comparisons").
    """
    if gallery.size * vectors < WORTH:
        return None
    import torch  # noqa: PLC0415 - only for galleries of that size

    if not torch.cuda.is_available():
        return None
    from reidscope_site.face.products_cuda import upload  # noqa: PLC0415 - a card

    with suppress(RuntimeError):  # no room, or a driver of another version
        return upload(gallery)
    return None
