"""Manifests that go to S3 as they are made: the same as here."""

from pathlib import Path

import numpy as np
import pytest

from vgsr.corpora import CorpusError, prepare
from vgsr.data import audio, manifest, recordings
from vgsr.teachers import bank


def test_the_manifest_may_go_to_s3(tree, tmp_path, s3):
    here = prepare("folder", tree, tmp_path / "out")
    report = prepare("folder", tree, f"{s3.place}/corpora/mine")
    assert report.manifest.digest == here.manifest.digest and report.counts == here.counts
    made = manifest.read(f"{s3.place}/corpora/mine")
    assert made.utterances == here.manifest.utterances
    assert Path(made.file(made.utterances["uri"][0].as_py())).is_file()
    with pytest.raises(CorpusError, match="read from this machine"):
        prepare("folder", f"{s3.place}/corpora", tmp_path / "elsewhere")


def test_a_corpus_that_is_made_may_be_made_on_s3(tmp_path, s3):
    sizes = {"speakers": 6, "sessions": 2, "utterances": 1, "validation": 0.34, "test": 0.34}
    here = prepare("synthetic", None, tmp_path / "out", **sizes)
    there = prepare("synthetic", None, f"{s3.place}/made", **sizes)
    assert there.manifest.digest == here.manifest.digest
    made = manifest.read(f"{s3.place}/made")
    uri = made.utterances["uri"][3].as_py()
    wave = recordings.read(made, uri)
    np.testing.assert_array_equal(wave, audio.read(tmp_path / "out" / uri))
    assert there.bank == f"{s3.place}/made/banks/synthetic.parquet"
    np.testing.assert_array_equal(bank.read(there.bank).matrix(), bank.read(here.bank).matrix())
