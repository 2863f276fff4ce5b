"""Measuring gives what preparing gives; what cannot be heard is listed, and nothing is written that a trial misses."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from vgsr.data import dnsmos, recordings
from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest, ManifestError, Problem
from vgsr.extraction import parts, speech
from vgsr.teachers import weights

QUIET = Console(quiet=True)


def rewritten(manifest: Manifest, place: str, **changes: object) -> Manifest:
    """A manifest written again with other tables."""
    tables = {
        "utterances": manifest.utterances.to_pylist(),
        "faces": manifest.faces,
        "trials": manifest.trials,
        "problems": [],
        **changes,
    }
    about = {"corpus": manifest.corpus, "root": manifest.location, "synthetic": manifest.synthetic}
    return manifests.write(place, **about, **tables)  # type: ignore[arg-type]


@pytest.fixture
def prepared(tiny: Path, tmp_path: Path) -> Manifest:
    """The tiny corpus with recordings of its own, and its signals as preparing measured them."""
    shutil.copytree(tiny, tmp_path / "prepared")
    return manifests.read(tmp_path / "prepared")


@pytest.fixture
def unmeasured(prepared: Manifest, tmp_path: Path) -> Manifest:
    rows = [row | dict.fromkeys(speech.SIGNALS) for row in prepared.utterances.to_pylist()]
    return rewritten(prepared, str(tmp_path / "unmeasured"), utterances=rows)


def spoil(manifest: Manifest, split: str) -> dict[str, str]:
    """An utterance of a split becomes silent, and another no recording; their uris and the reasons."""
    silent, broken = manifest.split(split).slice(0, 2).to_pylist()
    soundfile.write(manifest.file(silent["uri"]), np.zeros(16000), 16000)
    Path(manifest.file(broken["uri"])).write_bytes(b"fLaC nothing")
    return {silent["uri"]: "digital silence: every sample is 0", broken["uri"]: "unreadable"}


def test_measured_is_as_prepared(prepared: Manifest, unmeasured: Manifest) -> None:
    assert unmeasured.utterances["speech_snr"].null_count == len(prepared.utterances)
    written, lost = speech.measure(unmeasured, console=QUIET)
    assert written.utterances.equals(prepared.utterances) and lost == []
    assert written.digest == prepared.digest and written.place == unmeasured.place
    again, _ = speech.measure(written, console=QUIET)
    assert again.digest == prepared.digest
    assert not (Path(written.place) / "measure.parts").exists()


def test_ratings_come_on_top_and_stay(unmeasured: Manifest, prepared: Manifest) -> None:
    try:
        listener = weights.locate(weights.DNSMOS).read_bytes()
    except weights.WeightError as error:
        pytest.skip(f"DNSMOS cannot be had here: {error}")
    few = rewritten(unmeasured, unmeasured.place, utterances=unmeasured.utterances.slice(0, 1), trials={})
    written, _ = speech.measure(few, listener, console=QUIET)
    network = dnsmos.load(listener)
    for row, known in zip(written.utterances.to_pylist(), prepared.utterances.to_pylist(), strict=False):
        heard = dnsmos.overall(network, recordings.read(written, row["uri"], row["start"], row["seconds"]))
        assert row["speech_dnsmos"] == pytest.approx(heard, abs=1e-6)
        assert row["speech_snr"] == known["speech_snr"]
    assert written.utterances["speech_dnsmos"].null_count == 0
    again, _ = speech.measure(written, console=QUIET)  # without a listener
    assert again.utterances["speech_dnsmos"].equals(written.utterances["speech_dnsmos"])


def test_what_cannot_be_heard_is_taken_out_and_listed(unmeasured: Manifest, prepared: Manifest) -> None:
    older = Problem("a.wav", "empty file")
    before = rewritten(unmeasured, unmeasured.place, problems=[older])
    spoilt = spoil(before, "train")
    written, lost = speech.measure(before, console=QUIET)
    gone = [row["utterance_id"] for row in prepared.utterances.to_pylist() if row["uri"] in spoilt]
    kept = [row for row in prepared.utterances.to_pylist() if row["uri"] not in spoilt]
    assert len(gone) == 2 and written.utterances.to_pylist() == kept
    assert {problem.uri for problem in lost} == set(spoilt)
    assert all(problem.reason.startswith(spoilt[problem.uri]) for problem in lost)
    listed = [Problem(**row) for row in manifests.problems(written).to_pylist()]
    assert sorted(listed, key=lambda p: p.uri) == sorted([older, *lost], key=lambda p: p.uri)
    assert written.trials["test"].equals(before.trials["test"]) and written.faces.equals(before.faces)


def test_nothing_is_written_where_a_trial_would_miss_an_utterance(unmeasured: Manifest) -> None:
    spoilt = spoil(unmeasured, "test")
    named = [row["utterance_id"] for row in unmeasured.utterances.to_pylist() if row["uri"] in spoilt]
    with pytest.raises(ManifestError) as raised:
        speech.measure(unmeasured, console=QUIET)
    assert "2 utterances that trials 'test' needs" in str(raised.value)
    assert all(name in str(raised.value) for name in named) and "digital silence" in str(raised.value)
    assert manifests.read(unmeasured.place).digest == unmeasured.digest


def test_an_interrupted_run_does_not_measure_again(
    unmeasured: Manifest, prepared: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART", 8)
    heard: list[str] = []
    read = recordings.read

    def counting(manifest: Manifest, uri: str, *cut: float) -> np.ndarray:
        heard.append(uri)
        if len(heard) == 20:
            raise KeyboardInterrupt
        return read(manifest, uri, *cut)

    monkeypatch.setattr(recordings, "read", counting)
    with pytest.raises(KeyboardInterrupt):
        speech.measure(unmeasured, console=QUIET)
    assert manifests.read(unmeasured.place).digest == unmeasured.digest
    first = set(heard[:16])
    heard.clear()
    monkeypatch.setattr(recordings, "read", lambda *asked: (heard.append(asked[1]), read(*asked))[1])
    written, _ = speech.measure(unmeasured, console=QUIET)
    assert written.digest == prepared.digest
    assert first.isdisjoint(heard) and len(heard) == len(prepared.utterances) - 16


def test_on_s3(unmeasured: Manifest, prepared: Manifest, s3) -> None:  # type: ignore[no-untyped-def]
    there = rewritten(unmeasured, f"{s3.place}/corpus")
    written, _ = speech.measure(there, console=QUIET)
    assert written.digest == prepared.digest == manifests.read(f"{s3.place}/corpus").digest
    keys = [item["Key"] for item in s3.client.list_objects_v2(Bucket=s3.name)["Contents"]]
    assert not [key for key in keys if "part" in key]
