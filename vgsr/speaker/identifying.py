"""Who speaks: a recording and a gallery in; everyone in it by how well they fit, and whether it is one of them, out."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import softmax

from vgsr.evaluation import calibration, scoring
from vgsr.speaker import judging
from vgsr.speaker.gallery import Gallery, GalleryError, same_model
from vgsr.speaker.model import Speaker
from vgsr.speaker.recordings import Recording, samples


@dataclass(frozen=True)
class Candidate:
    """One enrolled person. llr: natural log-likelihood ratio that the recording is of this person and not another."""

    name: str
    score: float
    llr: float
    probability: float


@dataclass(frozen=True)
class Identification:
    """Everyone in the gallery, best first; `stranger`: the probability that it is nobody of them.

    threshold: the score below which the best is less probable than a stranger; accepted: who it is, None for nobody;
    problem: what forbids a verdict, None where nothing does.
    """

    candidates: list[Candidate]
    stranger: float
    threshold: float
    accepted: str | None
    problem: str | None


def identify(model: Speaker, gallery: Gallery, recording: Recording) -> Identification:
    """Who of the N people of a gallery speaks in the recording, or nobody of them.

    Bayes' rule from the calibrated likelihood ratios L, with a stranger as probable beforehand as all N together (our
    definition): that it is k has the probability L_k / (N + ΣL), a stranger N / (N + ΣL). Accepted is who has more than
    1/2; a stranger is it where L_k < N for everyone. Every person is another chance of a false alarm, and so the score
    that it takes rises with N. In between, several people fit, and that is a problem: the recordings may be alike in
    room and microphone, which no calibration on other recordings knows.

    AudioError for a recording that cannot be embedded, GalleryError for another model's gallery or an empty one.
    """
    same_model(model, gallery)
    people = gallery.people
    if not people:
        raise GalleryError("nobody is in the gallery yet; `vgsr enroll NAME FILES` adds people")
    wave = samples(recording)
    vectors = np.concatenate([gallery.embeddings(), model.embed(wave)[None]])
    ids = [*(str(row) for row in range(gallery.table.num_rows)), "test"]
    trials = pa.table({"enrol": list(people), "test": ["test"] * len(people)})
    scores = scoring.cosine_scores(vectors, ids, trials, people)
    llrs = model.calibration.llr(scores)
    stranger, *probabilities = softmax(np.append(np.log(len(people)), llrs)).tolist()
    columns = (people, scores.tolist(), llrs.tolist(), probabilities)
    candidates = sorted((Candidate(*each) for each in zip(*columns, strict=True)), key=lambda one: -one.score)
    best = candidates[0]
    unfit = judging.examine(wave).problem
    problem = f"has {unfit}" if unfit else None
    if not problem and stranger < best.probability <= 0.5:
        problem = f"fits several people: {_alike(candidates)}"
    threshold = calibration.threshold(model.calibration, 1 / (len(people) + 1))
    return Identification(candidates, stranger, threshold, best.name if best.probability > 0.5 else None, problem)


def _alike(candidates: list[Candidate]) -> str:
    """The best of them, until one is more probably among these than not."""
    named, total = [], 0.0
    for candidate in candidates:
        named.append(f"{candidate.name} ({100 * candidate.probability:.0f} %)")
        total += candidate.probability
        if total > 0.5:
            break
    return " or ".join(named)
