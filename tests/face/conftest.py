"""What the face tests share: all of it public."""

from __future__ import annotations

import pytest
import torch

from reidscope_site.face.recognise import Recogniser
from reidscope_site.face.template import Template, template
from reidscope_site.face.volume import Volume
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.synthetic.photo import photo
from reidscope_site.synthetic.scan import scan
from reidscope_site.synthetic.seeds import PersonSeed, Population

torch.set_num_threads(1)

SOMEBODY = PersonSeed(population=Population.SITE, label="tests", number=0)
SOMEBODY_ELSE = PersonSeed(population=Population.SITE, label="tests", number=1)


@pytest.fixture(scope="session")
def head() -> Template:
    return template()


@pytest.fixture(scope="session")
def recogniser() -> Recogniser:
    weights = installed_model_bytes()
    return Recogniser.from_bytes(detector=weights.detector, recogniser=weights.recogniser)


@pytest.fixture(scope="session")
def picture(head: Template) -> object:
    return photo(SOMEBODY, head)


@pytest.fixture(scope="session")
def head_scan(head: Template) -> Volume:
    return scan(SOMEBODY, head)
