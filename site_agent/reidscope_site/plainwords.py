"""A study in plain words, for whoever approves: what is computed, what leaves, what it costs."""

from __future__ import annotations

from collections.abc import Iterator

from reidscope_protocols.envelope import Opened
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.study import Study
from reidscope_site.config import Policy


def explain(study: Opened[Study], policy: Policy, spent: PrivacyLoss) -> Iterator[str]:
    """Say what a yes would mean, line by line.

    Parameters
    ----------
    study : Opened of Study
        Its signature was checked.
    policy : Policy
        The site's caps and declared people.
    spent : PrivacyLoss
        By all studies before this one.

    Yields
    ------
    str
        Lines without any fact about the site's data.
    """
    said = study.statement
    asked = said.experiment
    table = said.joint_table
    safes = said.five_safes
    after = PrivacyLoss(spent.nano + said.loss.nano)
    yield f"{said.title}  ({said.study_id})"
    yield f"digest        {study.sha256}"
    yield f"signed by     {study.signer.public}"
    yield f"question      {said.question}"
    yield f"open          {said.opens_at:%Y-%m-%d %H:%M} to {said.closes_at:%Y-%m-%d %H:%M} UTC"
    if said.answers_from is not None:
        yield f"answers from  {said.answers_from:%Y-%m-%d %H:%M} UTC, however soon a site is done"
    yield f"sites         {', '.join(said.audience)}"
    yield ""
    yield "The Five Safes"
    yield f"  project     {safes.project}"
    yield f"  people      {safes.people}"
    yield f"  settings    {safes.settings}"
    yield f"  data        {safes.data}"
    yield f"  outputs     {safes.outputs}"
    yield ""
    yield "What is computed here, person by person"
    yield f"  who         everybody of this site's index ({said.population})"
    yield "  how         the scan is de-identified, its face is rendered, a recogniser compares it"
    yield "              with the person's own photo and with public faces"
    yield f"  public      {asked.reference_size:,} faces: {asked.reference_people}"
    yield f"  arms        {', '.join(asked.arms)}"
    yield f"  galleries   found among {', '.join(f'{size:,}' for size in asked.anchors)} faces?"
    yield ""
    yield "What leaves this site"
    yield f"  one table   of {len(table.cells)} counts, each with discrete Laplace noise:"
    for cell in table.cells:
        yield f"              {cell}"
    yield "  and         the declared number of people, the ledger's head, software versions"
    yield "  never       an image, an embedding, a name, an exact count, who took part"
    yield ""
    yield "What it costs"
    yield f"  epsilon     {said.loss}: nobody's odds of guessing that a person took part"
    yield f"              can grow by more than a factor of {said.loss.odds:.1f}"
    yield f"  account     spent {spent}, after this study {after} of {policy.lifetime_cap}"
    yield f"              (together a factor of at most {after.odds:.1f})"
    yield f"  policy      at most {policy.study_cap} a study"
    yield f"  declared    {policy.declared_people} people"
    yield ""
    yield "What an attacker could still learn"
    yield "  that this site took part, and population facts that hold whoever takes part;"
    yield "  members of the public reference gallery are not protected by this site"
