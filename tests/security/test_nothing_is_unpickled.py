"""No reader of ours unpickles: by what they do on good files, and by what the code says."""

import re
import subprocess
import sys
from pathlib import Path

import vgsr

HERE = Path(vgsr.__file__).parent

PROGRAM = """
import sys, pickle, shutil
from pathlib import Path
corpus, checkpoint, out = map(Path, sys.argv[1:])
import torch, pandas, scipy.optimize, matplotlib.pyplot, onnxruntime, cv2, av  # whatever these load, they do it now
from vgsr import config, corpora, speaker, fetch
from vgsr.data import manifest, recordings
from vgsr.evaluation import score_files, embedding_files
from vgsr.speaker import gallery
from vgsr.teachers import bank
from vgsr.training import check, loop
from vgsr.training.session import LocalSession

found = []
def watch(event, arguments):
    if event == "pickle.find_class":
        found.append(arguments)
sys.addaudithook(watch)
pickle.loads(pickle.dumps(Path("x")))
assert found, "the watch sees nothing"
found.clear()

corpora.prepare("synthetic", None, out / "m", speakers=12, sessions=1, utterances=2, validation=0.25, test=0.25)
made = manifest.read(corpus)
made.utterances, made.faces, made.trials
recordings.read(made, made.utterances["uri"][0].as_py())
bank.read(corpus / "banks" / "synthetic.parquet").matrix()
model = speaker.load(fetch.checkpoint(checkpoint))
tested = speaker.evaluate(model, made)
score_files.write(out / "s.parquet", tested[0].scores)
score_files.read(out / "s.parquet")
people = gallery.new(model, "x")
gallery.write(out / "g.parquet", people)
gallery.read(out / "g.parquet")
check.check(model.experiment)
shutil.copytree(checkpoint, out / "run" / "checkpoints" / checkpoint.name)
rows = []
longer = config.override(model.experiment, {"train.epochs": model.experiment.train.epochs})
loop.train(longer, LocalSession(out / "run", rows.append))
assert rows
print("unpickled", found)
"""


def test_good_files_are_read_without_a_pickle(tiny, checkpoint, tmp_path):
    """An audit hook sees every class that any C or Python unpickler looks up; torch's restricted one looks up none."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tiny), str(checkpoint), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("unpickled []"), done.stdout


def test_no_line_of_ours_unpickles():
    """Nor executes: what does, is told to read plain values only."""
    forbidden = re.compile(
        r"pickle\.loads?\(|joblib|shelve|marshal\.|yaml\.(unsafe_|full_)?load\(|allow_pickle=True|weights_only=False"
        r"|\beval\(|\bexec\(|os\.system|shell=True"
    )
    told = {"torch.load(": "weights_only=True", "np.load(": "allow_pickle=False"}
    ours = "vgsr/training/ending.py"  # a handle of Ray's, out of this job's own queue: no file is read there
    wrong = []
    for file in [*HERE.rglob("*.py"), *(HERE.parent / "sweeps").glob("*.py")]:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if forbidden.search(line) or any(call in line and must not in line for call, must in told.items()):
                wrong.append(f"{file.relative_to(HERE.parent)}:{number}: {line.strip()}")
    assert not [line for line in wrong if ".eval()" not in line and not line.startswith(ours)]
