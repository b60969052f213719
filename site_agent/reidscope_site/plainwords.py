"""A study in plain words, for whoever approves: what is computed, what leaves, what it costs."""

from __future__ import annotations

from collections.abc import Iterator

from reidscope_protocols.cohort import DEFAULT_SCANS
from reidscope_protocols.envelope import Opened
from reidscope_protocols.face_experiment import FaceExperiment
from reidscope_protocols.privacy import PRACTICALLY_CERTAIN, PrivacyLoss, odds_said
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import Attacker, Direction, FailedGate, Mate
from reidscope_site.config import Policy
from reidscope_site.plainwords_sum import price, trust

_MATES = {Mate.PHOTO: "a photo", Mate.SECOND_SCAN: "a second scan of another date"}
_DIRECTIONS = {
    Direction.SAMPLE_TO_POPULATION: {
        Mate.PHOTO: "with the person's own photo and with public photos",
        Mate.SECOND_SCAN: "with the person's own second scan and with public scans",
    },
    Direction.POPULATION_TO_SAMPLE: {
        Mate.PHOTO: "and public scans with the person's own photo",
        Mate.SECOND_SCAN: "and public scans with the person's own second scan",
    },
}
_ATTACKERS = {
    Attacker.RAW: "raw (compares what the recogniser gives)",
    Attacker.CALIBRATED: "calibrated (knows how scans differ from photos)",
    Attacker.REPAIRING: "repairing (fills what a defacer took from an average head)",
}
_FAILED = {
    FailedGate.NOT_RELEASED: "not released, so not found",
    FailedGate.RELEASED: "attacked like any other",
}


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
    yield from _computed(said, asked)
    yield from _leaves(said)
    if said.noise is not None:
        yield from trust(said, said.noise)
    yield "What it costs"
    yield f"  epsilon     {said.loss}: {_guessing(said.loss)}"
    yield f"              {_grows(said.loss)}"
    yield f"  account     spent {spent}, after this study {after} of {policy.lifetime_cap}"
    yield f"              (together {_factor(after)})"
    yield f"  policy      at most {policy.study_cap} a study"
    if said.noise is not None:
        yield from price(said, said.noise, policy)
    yield f"  declared    {policy.declared_people} people{_serves(policy)}"
    yield ""
    yield "What an attacker could still learn"
    yield "  that this site took part, and population facts that hold whoever takes part;"
    if any(said.cohort.phrases()):
        yield "  of somebody who is taken to be counted: that they met the conditions above;"
    yield "  members of the public reference gallery are not protected by this site"


def _guessing(loss: PrivacyLoss) -> str:
    whose = "nobody's odds" if loss.odds < PRACTICALLY_CERTAIN else "the odds"
    return f"{whose} of guessing that a person took part"


def _grows(loss: PrivacyLoss) -> str:
    if loss.odds < PRACTICALLY_CERTAIN:
        return f"can grow by more than a factor of {odds_said(loss.odds)}"
    return f"can grow from even to {odds_said(loss.odds)}"


def _factor(loss: PrivacyLoss) -> str:
    if loss.odds < PRACTICALLY_CERTAIN:
        return f"a factor of at most {odds_said(loss.odds)}"
    return odds_said(loss.odds)


def _serves(policy: Policy) -> str:
    if not policy.population_reached:
        return ""
    within = f" in {policy.region}" if policy.region else ""
    return f" of the {policy.population_reached:,} whom the site serves{within}"


def _renders(asked: FaceExperiment) -> str:
    plan = asked.renders
    count = plan.views * plan.lights
    pictures = "one render a scan" if count == 1 else f"{count} renders a scan, their {plan.fusion}"
    return pictures + (", in grey" if plan.grey else "")


def _computed(said: Study, asked: FaceExperiment) -> Iterator[str]:
    yield "What is computed here, person by person"
    yield f"  who         everybody of this site's index with {_MATES[asked.mate]}"
    yield f"              ({said.population})"
    yield from _who(said)
    yield "  how         the scan is de-identified, its face is rendered, a recogniser compares it"
    yield f"              {_DIRECTIONS[asked.direction][asked.mate]}"
    yield f"  public      {asked.reference_size:,} faces: {asked.reference_people}"
    yield f"  recogniser  {asked.recogniser.name}; {_renders(asked)}"
    yield "  machine     faces are described on the processor, on one thread; comparisons are exact"
    yield "              integers: a graphics card may do them, and changes no cell"
    for number, attacker in enumerate(asked.attackers):
        yield f"  {'attackers' if not number else '':<12}{_ATTACKERS[attacker]}"
    yield f"  arms        {', '.join(asked.arms)}"
    if len(asked.arms) > 1:
        yield f"  gates       a defaced scan that fails them is {_FAILED[asked.failed_gate]}"
    if asked.scans != DEFAULT_SCANS:
        yield f"  modalities  a scan is {' or '.join(asked.scans)} (PT is PET)"
    if asked.other_domain:
        yield "              the public scans are of another kind: an attacker who has public scans"
        yield "              of this kind may find more people than this study does"
    if asked.scan_cap > 1:
        yield f"  scans       the most exposed of a person's first {asked.scan_cap}:"
        yield f"              guessing reaches up to {asked.chance_percent:g}% of people"
    yield f"  galleries   found among {', '.join(f'{size:,}' for size in asked.anchors)} faces?"
    if asked.scores:
        yield f"  scores      {', '.join(asked.scores.columns)}: in which class is the number of"
        yield "              public faces that look at least as much alike as the mate?"
    if asked.beyond:
        yield f"  beyond      {', '.join(tail.column for tail in asked.beyond.tails)}: found among"
        sizes = ", ".join(f"{size:,}" for size in asked.beyond.gallery_sizes)
        yield f"              {sizes} faces, if public strangers' scores go on as two models say?"
    yield ""


def _who(said: Study) -> Iterator[str]:
    """Say who of them counts, and which groups are told apart."""
    conditions = tuple(said.cohort.phrases())
    for number, phrase in enumerate(conditions):
        yield f"  {'' if number else 'only those':<12}{phrase}"
    if said.cohort.asks_headers:
        yield "              whoever's headers do not tell is left out"
    if conditions:
        yield "              how many they are stays here, and nothing is refused for it"
    groups = said.experiment.groups
    if groups is not None:
        yield f"  groups      {', '.join(groups.labels)}"
        yield "              each person's cell says the group too; small ones are never merged"


def _leaves(said: Study) -> Iterator[str]:
    everybody = "everybody counted" if any(said.cohort.phrases()) else "everybody"
    yield "What leaves this site"
    for table in said.tables:
        noise = "discrete Laplace noise," if said.noise is None else "a share of noise, masked,"
        yield f"  {table.table}: {len(table.cells)} counts, each with {noise}"
        yield f"              epsilon {table.loss}; {everybody} is in one of its cells:"
        groups = said.experiment.groups if table is said.joint_table else None
        if groups is not None:
            yield f"              a group ({', '.join(groups.labels)}), and within it"
        # The study was refused unless its cells are these, crossed with the groups.
        for cell in table.cells if groups is None else said.experiment.cells().labels:
            yield f"              {cell}"
    yield "  and         the declared number of people, the ledger's head, software versions"
    yield "  never       an image, an embedding, a name, an exact count, who took part"
    yield ""
