"""A finished model on the trial lists of a manifest: figures with their protocol, and every score."""

from collections.abc import Callable, Sequence

import numpy as np

from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest, ManifestError
from vgsr.evaluation import embedding, overlap, system
from vgsr.evaluation.calibration import Calibration
from vgsr.evaluation.lists import VALIDATION, some_test_lists
from vgsr.evaluation.overlap import Known
from vgsr.evaluation.protocol import PLAIN
from vgsr.evaluation.system import Scoring, System, Tested
from vgsr.speaker.model import Speaker

Progress = Callable[[int, int], None]  # utterances done, of how many


def ignored(done: int, total: int) -> None:
    """Progress that nobody watches."""


def as_system(model: Speaker, how: Scoring, background: Manifest | None = None, progress: Progress = ignored) -> System:
    """The model as a system that scores as `how` says.

    Plain cosines are calibrated as the checkpoint says (an imported one says nothing); anything else by `background`,
    by default the corpus that the model was trained on. ManifestError where that is not to be found.
    """

    def embed(manifest: Manifest, ids: Sequence[str]) -> np.ndarray:
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            progress(done, len(ids))

        return embedding.embed(model.student, model.fbank, manifest, ids, model.device, count)

    if how.plain and model.imported:
        return System(embed, how, f"{PLAIN}, not calibrated")
    if how.plain:
        own = f"{PLAIN}, calibrated on {model.facts['corpus']}/{VALIDATION}"
        return System(embed, how, own, calibrated=Calibration(**model.facts["calibration"]))
    if background is None and model.imported:
        raise ManifestError(
            f"{model.folder}: imported, and nobody knows the corpus that it was trained on: say with --background "
            "whose training speakers and validation trials this way of scoring shall use"
        )
    if background is None:
        place = model.experiment.corpus.manifest
        try:
            background = manifests.read(place)
        except ManifestError as error:
            raise ManifestError(
                f"{error}\nThe model was trained on that corpus, and this way of scoring needs it: say where it lies "
                "now with --background"
            ) from error
    return system.prepare(embed, how, background)


def evaluate(
    model: Speaker,
    manifest: Manifest,
    lists: Sequence[str] = (),
    p_targets: Sequence[float] = (0.01, 0.05),
    scorer: System | None = None,
    namesakes: bool = False,
) -> list[Tested]:
    """The model on trial lists of a manifest; without names on every list but `validation`.

    scorer: `as_system` of the model; plain cosines where none is given. namesakes: see `overlap.refuse`. ManifestError
    when a trial has a speaker of the training set, or of the cohort: a figure from it would be worthless.
    """
    names = some_test_lists(manifest, lists)
    refuse_overlap(model, manifest, names, namesakes)
    return system.test(scorer or as_system(model, Scoring()), manifest, names, p_targets, namesakes)


def refuse_overlap(model: Speaker, manifest: Manifest, lists: Sequence[str], namesakes: bool = False) -> None:
    """ManifestError when a trial of `lists` has a speaker of the model's training set (see `overlap.refuse`).

    Of an imported model nobody knows that set: nothing is refused.
    """
    trained = Known(model.facts["corpus"], model.training_speakers, "this model's training set")
    overlap.refuse(trained, manifest, lists, namesakes)
