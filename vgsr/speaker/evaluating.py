"""A finished model on the trial lists of a manifest: figures with their protocol."""

from collections.abc import Callable, Sequence

from vgsr.data.manifest import Manifest, ManifestError
from vgsr.evaluation import embedding, protocol, scoring
from vgsr.speaker.model import Speaker
from vgsr.training.validation import protocol_of, test_lists


def evaluate(
    model: Speaker,
    manifest: Manifest,
    lists: Sequence[str] = (),
    p_targets: Sequence[float] = (0.01, 0.05),
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[protocol.Result]:
    """Figures on trial lists of a manifest; without names on every list but `validation`.

    ManifestError when a trial has a speaker of the training set: a figure from it would be worthless. Speakers
    are compared by name, and only with the corpus that the model was trained on.
    """
    names = test_lists(manifest, lists)
    if not names:
        raise ManifestError(f"{manifest.path}: no trial list in it to evaluate on")
    tables = {name: manifest.named_trials(name) for name in names}
    ids = sorted({utterance for table in tables.values() for utterance in embedding.trial_utterances(table)})
    _refuse_overlap(model, manifest, ids)
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        advance(done, len(ids))

    vectors = embedding.embed(model.student, model.fbank, manifest, ids, model.device, count)
    return [
        protocol.evaluate(
            scoring.cosine_scores(vectors, ids, table),
            table["label"].to_numpy(),
            protocol_of(manifest, name),
            p_targets,
        )
        for name, table in tables.items()
    ]


def _refuse_overlap(model: Speaker, manifest: Manifest, ids: list[str]) -> None:
    if manifest.corpus != model.facts["corpus"]:
        return
    wanted = set(ids)
    rows = zip(manifest.utterances["utterance_id"].to_pylist(), manifest.utterances["speaker"].to_pylist(), strict=True)
    shared = sorted({speaker for name, speaker in rows if name in wanted} & model.training_speakers)
    if shared:
        raise ManifestError(
            f"{manifest.path}: {len(shared)} speakers of its trials were in this model's training set "
            f"({', '.join(shared[:5])}); a figure from them would be worthless"
        )
