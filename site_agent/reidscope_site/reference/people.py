"""Public people, described exactly as a site's people are: same photos, scans, arms, recogniser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from reidscope_protocols.errors import InvariantError
from reidscope_site.face.arms import ARMS
from reidscope_site.face.evaluate import ACCEPTED_NCC
from reidscope_site.face.recognise import Embedding, Recogniser
from reidscope_site.face.register import register
from reidscope_site.face.skin import face_picture
from reidscope_site.face.template import Template
from reidscope_site.face.volume import isotropic
from reidscope_site.synthetic.photo import photo
from reidscope_site.synthetic.scan import scan
from reidscope_site.synthetic.seeds import PersonSeed, Population

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Studio:
    """What public people are described with.

    Attributes
    ----------
    recogniser : Recogniser
        Of faces.
    template : Template
        The average head.
    dimension : int
        Of an embedding.
    """

    recogniser: Recogniser
    template: Template
    dimension: int

    def photo_row(self, population: Population, number: int) -> NDArray[np.float32]:
        """Embedding of a public person's first photo, (d,); not-a-numbers without one face."""
        torch.set_num_threads(1)
        seed = PersonSeed(population=population, number=number)
        return self._row(self.recogniser.embed_photo(photo(seed, self.template)).embedding)

    def person_row(
        self, population: Population, number: int, arms: tuple[str, ...]
    ) -> NDArray[np.float32]:
        """Embeddings of the photo, then of the scan in every arm: ((1 + arms) d,)."""
        seed = PersonSeed(population=population, number=number)
        rows = [self.photo_row(population, number)]
        head = isotropic(scan(seed, self.template))
        registration = register(head)
        for name in arms:
            embedding = None
            if registration.ncc >= ACCEPTED_NCC:
                picture = face_picture(ARMS[name].apply(head, registration), registration)
                embedding = None if picture is None else self.recogniser.embed(picture).embedding
            rows.append(self._row(embedding))
        return np.concatenate(rows)

    def _row(self, embedding: Embedding | None) -> NDArray[np.float32]:
        if embedding is None:
            return np.full(self.dimension, np.nan, dtype=np.float32)
        return embedding.values


def studio(recogniser: Recogniser, head: Template) -> Studio:
    """Set up, and learn the embedding's dimension from a public face."""
    seed = PersonSeed(population=Population.CALIBRATION, number=0)
    embedding = recogniser.embed_photo(photo(seed, head)).embedding
    if embedding is None:
        raise InvariantError(
            "the first calibration photo",
            got="no face",
            expected="one",
            do="check the installed weights",
        )
    return Studio(recogniser=recogniser, template=head, dimension=len(embedding.values))
