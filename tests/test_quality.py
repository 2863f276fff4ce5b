"""`vgsr quality`: the figures against other libraries, the sheets by the colours of their faces."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from rich.console import Console
from scipy import stats

from vgsr import quality
from vgsr.config import SIGNALS
from vgsr.data import manifest as manifests
from vgsr.data.manifest import ManifestError
from vgsr.quality import figures, sheet, view
from vgsr.teachers import bank as banks
from vgsr.teachers import weights
from vgsr.teachers.bank import BankError

values = hn.arrays(np.float32, st.integers(0, 30), elements=st.one_of(st.integers(-3, 3), st.just(np.nan)))


@given(values)
def test_extremes_are_the_ends_of_the_sorted_list(found: np.ndarray) -> None:
    known = sorted(x for x in found.tolist() if x == x)
    count = min(4, len(known) // 2)
    worst, best = figures.extremes(found, 4)
    assert found[worst].tolist() == known[:count]
    assert found[best].tolist() == known[::-1][:count]
    assert not set(worst) & set(best)


@given(values)
def test_a_distribution_is_that_of_the_known_values(found: np.ndarray) -> None:
    known = [x for x in found.tolist() if x == x]
    told = figures.distribution(found)
    assert told.known == pytest.approx(len(known) / max(1, len(found)))
    if not known:
        assert np.isnan(told.mean) and told.histogram == ""
        return
    assert told.mean == pytest.approx(sum(known) / len(known), abs=1e-6)
    assert told.low <= told.median <= told.high and len(told.histogram) == figures.BINS


def test_a_histogram_shows_the_shape() -> None:
    assert figures.distribution(np.repeat(np.arange(12.0), np.arange(1, 13) * 50)).histogram == "▁▂▂▃▄▄▅▆▆▇██"
    assert figures.distribution(np.array([1.0, 1.0, 5.0])).histogram == "█" + " " * 10 + "▄"


@given(hn.arrays(np.float64, (12, 3), elements=st.one_of(st.integers(-3, 3), st.just(np.nan))))
def test_rank_correlations_are_spearmans(table: np.ndarray) -> None:
    found = figures.rank_correlations(table)
    for one in range(3):
        for other in range(3):
            both = np.isfinite(table[:, one]) & np.isfinite(table[:, other])
            left, right = table[both, one], table[both, other]
            if both.sum() < 3 or len(set(left)) < 2 or len(set(right)) < 2:
                assert np.isnan(found[one, other])
            else:
                assert found[one, other] == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-9)


def shown(manifest: Path, bank: Path | None = None, out: Path | None = None) -> str:
    text = io.StringIO()
    quality.show(manifest, bank, out, Console(file=text, width=80))
    return text.getvalue()


def test_a_corpus_without_pictures_gets_tables_and_says_so(tiny: Path, tmp_path: Path) -> None:
    text = shown(tiny, out=tmp_path / "out")
    train = manifests.read(tiny).split("train")
    assert f"{len(train)} training utterances" in text and "no pictures" in text
    assert not (tmp_path / "out").exists()
    lines = text.splitlines()
    worst = lines[lines.index("speech_snr: worst") + 1].split()
    lowest = min(train.to_pylist(), key=lambda row: row["speech_snr"])
    assert worst[0] == f"{lowest['speech_snr']:.3f}" and worst[3] == lowest["utterance_id"]
    assert Path(worst[4]).is_file()
    row = next(line.split() for line in lines if line.strip().startswith("face_pose"))
    assert row[1] == "100"
    tables = lines[lines.index(next(line for line in lines if "distributions" in line)) :]
    tables = tables[: tables.index("speech_snr: worst")]
    assert max(len(line) for line in tables) <= 80
    assert all(any(name in line for line in tables) for name in SIGNALS if name != "student_norm")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six people, each one utterance and one grey picture, the darker the later; the last two are held out."""
    root = tmp_path / "corpus"
    root.mkdir()
    for number in range(6):
        cv2.imwrite(str(root / f"{number}.png"), np.full((60, 40, 3), 240 - 40 * number, np.uint8))
    common = {"start": 0.0, "sample_rate": 16000, "session": "1"}
    rows = [
        {
            "utterance_id": f"u{n}",
            "speaker": f"p{n}",
            "uri": f"{n}.wav",
            "seconds": 2.0 + n,
            "split": "train" if n < 4 else "test",
            **common,
        }
        for n in range(6)
    ]
    faces = [{"face_id": f"f{n}", "speaker": f"p{n}", "session": "1", "uri": f"{n}.png"} for n in range(6)]
    made = manifests.write(
        tmp_path / "m",
        corpus="c",
        root=root,
        synthetic=False,
        utterances=rows,
        faces=faces,
        trials={},
        problems=[],
    )
    bank = banks.build(
        made.faces,
        np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32),
        model="m",
        digest="d",
        manifest_digest=made.digest,
        sharpness=np.array([3.0, 1.0, 4.0, 2.0, 0.0, 9.0]),
    )
    banks.write(tmp_path / "m" / "banks" / "one.parquet", bank)
    return tmp_path / "m"


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that needs no weights and sees no face, so that pictures are shown whole."""
    monkeypatch.setattr(weights, "locate", lambda weight: Path(__file__))  # any content: it is never run
    monkeypatch.setattr(sheet.detect, "find", lambda detector, image: None)


def test_a_sheet_has_the_worst_faces_above_the_best_of_the_training_speakers(pictures: Path, unseen: None) -> None:
    text = shown(pictures)
    page = cv2.imread(str(pictures / "quality" / "faces-face_sharpness.jpg"), cv2.IMREAD_GRAYSCALE)
    assert page is not None
    height = sheet.LINE + sheet.SIDE + sheet.LINE + sheet.GAP
    greys = [
        [
            int(page[row * height + sheet.LINE + sheet.SIDE // 2, sheet.GAP + column * (sheet.SIDE + sheet.GAP) + 72])
            for column in range(2)
        ]
        for row in range(2)
    ]
    # Of 3, 1, 4, 2 the worst are faces 1 and 3, the best 2 and 0; faces 4 and 5 are of the test split.
    assert greys == [[pytest.approx(200, abs=3), pytest.approx(120, abs=3)], [pytest.approx(160, abs=3), 240]]
    captions = page[sheet.LINE + sheet.SIDE : height, :]
    assert captions.min() < 60 < captions.mean()  # something is written there
    assert "no contact sheet of face_agreement: it is known for 0 faces" in text


def test_without_a_bank_the_speech_is_shown(pictures: Path) -> None:
    (pictures / "banks" / "one.parquet").unlink()
    text = shown(pictures)
    assert "no teacher bank" in text and "face_" not in text and "speech_duration: best" in text


def test_which_bank_is_meant_must_be_clear(pictures: Path) -> None:
    assert view.only_bank(pictures) == str(pictures / "banks" / "one.parquet")
    (pictures / "banks" / "two.parquet").write_bytes((pictures / "banks" / "one.parquet").read_bytes())
    with pytest.raises(BankError, match=r"one\.parquet, two\.parquet: name one with --bank"):
        shown(pictures)


def test_a_bank_of_other_faces_is_refused(pictures: Path, tiny: Path) -> None:
    with pytest.raises(BankError, match="are not in"):
        shown(pictures, bank=tiny / "banks" / "synthetic.parquet")


def test_a_manifest_without_training_utterances_says_what_to_do(pictures: Path) -> None:
    read = manifests.read(pictures)
    held_out = [{**row, "split": "test"} for row in read.utterances.to_pylist()]
    manifests.write(
        pictures,
        corpus="c",
        root=pictures,
        synthetic=False,
        utterances=held_out,
        faces=read.faces.to_pylist(),
        trials={},
        problems=[],
    )
    with pytest.raises(ManifestError, match="smaller --validation and --test"):
        shown(pictures)
