"""The verdict on a search: is its best arm better than no teacher at all, and does it become the champion?

In: the arms of stage 2 with their scores, and the champion there is. Out: a `Verdict` with its reason, whatever it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vgsr.search.confirm import HARD, NO_TEACHER, SHUFFLED
from vgsr.search.gains import BETTER, NEITHER, WORSE, Arm, Gain, gains
from vgsr.search.plan import METRIC
from vgsr.tracking import TrackedRun

SYNTHETIC = "The corpus is SYNTHETIC: this says nothing about people."


@dataclass(frozen=True)
class Champion:
    """The registered champion: its version, and by list the mean EER of its arm and by which protocols."""

    version: str
    name: str
    eers: Mapping[str, float]
    protocols: Mapping[str, set[str]]
    synthetic: bool


@dataclass(frozen=True)
class Verdict:
    """promoted: whether the champion moves. run_id: the run whose checkpoint is registered either way, empty without
    one. gains: arm → list → its gain over no teacher."""

    promoted: bool
    reason: str
    candidate: str = ""
    run_id: str = ""
    gains: Mapping[str, Mapping[str, Gain]] | None = None

    @property
    def sentence(self) -> str:
        """The verdict without its figures."""
        return self.reason.split("\n")[0]


def reach(
    arms: Sequence[Arm], tops: Sequence[str], champion: Champion | None, *, synthetic: bool, same: Mapping[str, str]
) -> Verdict:
    """Judge the arms. tops: the names of those that may be promoted; same: controls that are another arm over again.

    The candidate is the top arm with the lowest mean best validation EER over the fresh seeds; one that has lost seeds
    comes after those that have not. The champion moves where the candidate's EER is lower than without a teacher, by
    intervals that exclude 0 on every test list, and no higher than the champion's on lists that both were tested on.
    """
    by_name = {arm.name: arm for arm in arms if arm.runs}
    able = [by_name[name] for name in tops if name in by_name]
    if not able:
        return Verdict(False, "Nothing is promoted: no run of a top arm was completed in stage 2.")
    candidate = min(able, key=lambda arm: (-len(arm.runs), arm.mean(METRIC)))
    run = min(candidate.runs, key=lambda one: one.best_val_eer)
    over = {
        arm.name: gains(arm, by_name[NO_TEACHER])
        for arm in by_name.values()
        if NO_TEACHER in by_name and arm.name != NO_TEACHER
    }
    against = over.get(candidate.name, {})
    obstacles = [*_unproven(candidate, against), *_beaten(candidate, champion, synthetic)]
    shown = (
        f"{candidate.name} ({run.tags['vgsr.trial']}, seed {run.seed}, validation EER {100 * run.best_val_eer:.2f} %)"
    )
    if obstacles:
        head = f"Not promoted: {shown}: {'; '.join(obstacles)}."
    else:
        before = f" in place of version {champion.version}, {champion.name}" if champion else ""
        head = f"Promoted to champion{before}: {shown} is better than {NO_TEACHER} on every test list."
    apart = {name: gains(candidate, by_name[name]) for name in (HARD, SHUFFLED) if name in by_name}
    lines = [
        head,
        *(f"Against {NO_TEACHER} on {trials}: {_figures(one)}." for trials, one in against.items()),
        *_beside(apart, same),
        *_faces(against, over.get(SHUFFLED, {}), apart.get(SHUFFLED, {})),
        *([SYNTHETIC] if synthetic else []),
    ]
    return Verdict(not obstacles, "\n".join(lines)[:4000], candidate.name, run.run_id, over)


def _figures(one: Gain) -> str:
    """A gain, what it rests on and what to beware of."""
    paired = f", {one.seeds} paired seeds" if one.seeds else ""
    return "; ".join([one.told() + paired, *one.warnings])


def _unproven(candidate: Arm, against: Mapping[str, Gain]) -> list[str]:
    """Why it is not shown to be better than no teacher; empty where it is."""
    if not against:
        return [f"{NO_TEACHER} has no completed run" if candidate.lists else "there is no test list to compare on"]
    words = {WORSE: f"worse than {NO_TEACHER}", NEITHER: f"no difference to {NO_TEACHER} shown"}
    return [
        f"{words.get(one.verdict, 'no interval can be told')} on {trials}"
        for trials, one in against.items()
        if one.verdict != BETTER
    ]


def _beaten(candidate: Arm, champion: Champion | None, synthetic: bool) -> list[str]:
    """On which lists the champion errs less."""
    if champion is None:
        return []
    if synthetic and not champion.synthetic:
        return [f"the champion (version {champion.version}) is of real recordings, and this corpus is synthetic"]
    return [
        f"the champion (version {champion.version}, {champion.name}) has a lower mean EER on {trials}: "
        f"{100 * champion.eers[trials]:.2f} % against {100 * candidate.mean(f'test_{trials}_eer'):.2f} %"
        for trials in candidate.lists
        if trials in champion.eers
        and champion.protocols[trials] == candidate.protocols(trials)
        and champion.eers[trials] < candidate.mean(f"test_{trials}_eer")
    ]


def _beside(apart: Mapping[str, Mapping[str, Gain]], same: Mapping[str, str]) -> list[str]:
    """The candidate against the hard constraint and against other people's faces."""
    said = []
    for name in (HARD, SHUFFLED):
        if name in same:
            said.append(f"{name} is {same[name]} over again.")
        elif name in apart:
            said += [f"Against {name} on {trials}: {one.told()}." for trials, one in apart[name].items()]
        else:
            said.append(f"Against {name}: it has no completed run.")
    return said


def _faces(against: Mapping[str, Gain], kept: Mapping[str, Gain], apart: Mapping[str, Gain]) -> list[str]:
    """Whether the gain is knowledge of faces, a list at a time; nothing where there is no gain."""
    return [
        f"On {trials} {survival(kept[trials].verdict, apart[trials].verdict)}."
        for trials, one in against.items()
        if one.verdict == BETTER and trials in kept and trials in apart
    ]


def survival(kept: str, apart: str) -> str:
    """What becomes of a gain with shuffled faces. kept: their verdict over no teacher; apart: the candidate's over
    theirs."""
    if apart == BETTER:
        if kept == BETTER:
            return "a part of the gain survives shuffled faces: that part is regularisation"
        return "the gain does not survive shuffled faces"
    if kept == BETTER or apart == WORSE:
        return "the gain survives shuffled faces: regularisation, not knowledge of faces"
    return "it cannot be told whether the gain survives shuffled faces"


def champion_of(version: str, run: TrackedRun, same_arm: Sequence[TrackedRun], lists: Sequence[str]) -> Champion:
    """The champion, from its run and the completed runs of its arm."""
    arm = Arm(run.arm, tuple(same_arm), {})
    tested = [trials for trials in lists if any(f"test_{trials}_eer" in one.figures for one in same_arm)]
    return Champion(
        version,
        f"{run.name} of {run.tags.get('vgsr.search', '?')}",
        {trials: arm.mean(f"test_{trials}_eer") for trials in tested},
        {trials: arm.protocols(trials) for trials in tested},
        run.tags.get("vgsr.synthetic") == "True",
    )
