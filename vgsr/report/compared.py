"""What a report is about: the corpus, the experiment, and the arms with the settings that tell them apart."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import count

from vgsr import tracking
from vgsr.report.collect import Benchmark
from vgsr.report.leaderboard import name, percent
from vgsr.report.markdown import table
from vgsr.report.settings import changes, parameters, taught

SYNTHETIC = "**The corpus is SYNTHETIC: rendered voices, made-up faces. These figures say nothing about people.**"
VALIDATION = {"validation EER %": "best_val_eer", "in noise %": "best_val_noisy_eer"}
DIGEST = 12  # hex digits shown


def compared(benchmark: Benchmark) -> str:
    """Paragraphs and the table of arms."""
    notes = [SYNTHETIC] if benchmark.synthetic else []
    if not benchmark.finished:
        running = sum(run.state == tracking.RUNNING for run in benchmark.runs)
        part = f"{running} of its {len(benchmark.runs)} runs are"
        notes.append(f"**Unfinished**: the search is {benchmark.search.state}, and {part}.")
    return "\n\n".join([*notes, _experiment(benchmark), _arms(benchmark)])


def _phases(params: Mapping[str, str]) -> str:
    said = ""
    for at in count():
        if f"phases.{at}.name" not in params:
            return said
        own = {key: params.get(f"phases.{at}.{key}", "None") for key in ("epochs", "name", "crop_seconds", "margin")}
        said += f"; then {own['epochs']} of the phase `{own['name']}`"
        said += f", crops of {own['crop_seconds']} s" * (own["crop_seconds"] != "None")
        said += f", margin {own['margin']}" * (own["margin"] != "None")
    return said


def _experiment(benchmark: Benchmark) -> str:
    # A run of an older version may lack a setting.
    params, tags = defaultdict(lambda: "unknown", parameters(benchmark.search)), benchmark.search.tags
    seeds = sorted({run.seed for run in benchmark.runs})
    corpus = "synthetic" if benchmark.synthetic else "recorded"
    lines = [
        f"- Corpus: manifest `{params['corpus.manifest']}` ({corpus}, digest {tags.get('vgsr.data', '')[:DIGEST]}); "
        f"tested on {', '.join(benchmark.lists) or 'nothing yet'}.",
        f"- Student: {params['student.backbone']}, {params['student.channels']} channels, embedding of "
        f"{params['student.embedding']}; {params['train.epochs']} epochs, batches of {params['train.batch']} crops of "
        f"{params['train.crop_seconds']} s{_phases(params)}.",
        f"- Teacher: bank `{params['teacher.bank']}`.",
        f"- Taught by `{taught(benchmark.search)}`, where an arm says nothing else.",
        f"- {len(benchmark.runs)} runs, {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}.",
    ]
    script, commit = tags.get("mlflow.source.name"), tags.get("mlflow.source.git.commit")
    if script:
        lines.append(
            f"- Started by `{script}`{f' at commit {commit[:DIGEST]}' if commit else ''}; every run has the "
            "experiment it ran as `experiment.yaml`."
        )
    return "\n".join(lines)


def _arms(benchmark: Benchmark) -> str:
    """The arms that were completed; the others are counted with the runs."""
    arms = [arm for arm in benchmark.arms if arm.completed]
    if not arms:
        return "No arm has a completed run."
    figures = {heading: key for heading, key in VALIDATION.items() if any(arm.figure(key) is not None for arm in arms)}
    rows = [
        [
            name(arm),
            f"`{said}`" if (said := changes(arm.runs[0], benchmark.search)) else "the experiment as it is",
            str(len(arm.completed)),
            *(percent(arm.figure(key)) for key in figures.values()),
        ]
        for arm in arms
    ]
    headings = ["arm", "differs from the experiment by", "seeds", *figures]
    note = "Validation EER: of each run's best epoch, on the list that it was chosen by, so optimistic."
    return f"{table(headings, rows, numbers=range(2, len(headings)))}\n\n{note}"
