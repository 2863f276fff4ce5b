"""The parts of a training run, made from corpora that are larger than the tests' others."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vgsr import config
from vgsr.data import manifest as manifests
from vgsr.teachers import bank as banks
from vgsr.training import learner
from vgsr.training.crops import Crops, columns

SPEAKERS, VIDEOS, UTTERANCES = 400, 25, 20


def text(prefix, values):
    return pc.binary_join_element_wise(prefix, pa.array(values).cast(pa.string()), "")


def test_an_utterance_is_no_python_object(tmp_path):
    count = SPEAKERS * VIDEOS * UTTERANCES  # 200,000
    number = np.arange(count)
    speaker, session = text("id", number // (VIDEOS * UTTERANCES)), text("video", number // UTTERANCES)
    ids = text("", number + 10**6)
    utterances = pa.table(
        {
            "utterance_id": ids,
            "speaker": speaker,
            "session": session,
            "uri": pc.binary_join_element_wise(speaker, session, ids, "/"),
            "start": np.zeros(count),
            "seconds": np.ones(count),
            "sample_rate": pa.array(np.full(count, 16000), pa.int32()),
            "split": pa.array(["train"] * count),
            "speech_snr": pa.array(number % 50, pa.float32()),
            "speech_clipping": pa.nulls(count, pa.float32()),
            "speech_dnsmos": pa.nulls(count, pa.float32()),
        }
    )
    faces = utterances.take(np.arange(0, count, UTTERANCES)).rename_columns({"utterance_id": "face_id"})
    made = manifests.write(
        tmp_path / "m",
        corpus="large",
        root=tmp_path,
        synthetic=True,
        utterances=utterances,
        faces=faces,
        trials={},
        problems=[],
    )
    vectors = np.random.default_rng(0).standard_normal((len(faces), 8)).astype(np.float32)
    bank = banks.build(made.faces, vectors, model="m", digest="d", manifest_digest=made.digest)
    banks.write(tmp_path / "b.parquet", bank)
    places = {"corpus": {"manifest": made.place}, "teacher": {"bank": str(tmp_path / "b.parquet")}}
    quality = {"signals": ["face_norm", "speech_snr"]}
    experiment = config.build({"name": "large", **places, "distill": {"method": "cosine"}, "quality": quality})
    tracemalloc.start()
    manifest, bank = manifests.read(made.place), learner.bank_of(experiment)
    speakers = learner.training_speakers(manifest)
    pairing = learner.pair_faces(experiment, manifest, speakers, bank)
    crops = Crops(experiment, manifest, manifest.split("train", columns(experiment)), speakers, pairing)
    kept, peak = (size / count for size in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    assert len(crops) == count and pairing.coverage.utterances == 1
    # A str is 49 bytes and a pointer to it 8: at no moment is there one for every utterance.
    assert kept < 15 and peak < 57
