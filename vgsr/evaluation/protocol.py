"""Figures that carry their protocol.

In: scores and labels of a trial list, and the `Protocol` by which they were made.
Out: a `Result`, whose `line()` never prints a figure without saying how it was measured.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vgsr.data.manifest import Manifest
from vgsr.data.tables import CONCAT
from vgsr.evaluation.cllr import cllr, least_cllr
from vgsr.evaluation.metrics import MetricError, act_dcf, operating_points

# Costs of every minDCF that is printed; `line()` names them.
C_MISS = 1.0
C_FA = 1.0
ONE = "1 utterance"
PLAIN = "cosine, no score normalisation"
# Hex digits of the trial digest that a line shows.
SHOWN = 12
# Lines that are made and hashed at once: a list has millions.
BLOCK = 1 << 16


@dataclass(frozen=True)
class Protocol:
    """How a list of scores was made.

    trials: name of the trial list; count: its trials; digest: `trials_digest` of it (and of its enrolments).
    enrolment: `enrolment_rule` of it, e.g. "1 utterance"; normalisation: score and its normalisation, e.g.
    "cosine, no score normalisation"; seeds: trained models that the figure rests on;
    synthetic: whether the corpus was rendered and not recorded.
    """

    trials: str
    count: int
    digest: str
    enrolment: str
    normalisation: str
    seeds: int
    synthetic: bool

    def line(self) -> str:
        """All of it in one printable line."""
        parts = [
            f"trials {self.trials} ({self.count:,}, digest {self.digest[:SHOWN]})",
            f"enrolment {self.enrolment}",
            self.normalisation,
            "1 seed" if self.seeds == 1 else f"{self.seeds:,} seeds",
        ]
        return " · ".join(["SYNTHETIC corpus", *parts] if self.synthetic else parts)


def counted(targets: int, nontargets: int) -> str:
    """How many trials of each kind a list has, as every line says it."""
    return f"{targets:,} target and {nontargets:,} non-target trials"


@dataclass(frozen=True)
class Result:
    """Figures of one trial list. eer in [0, 1]; min_dcf, act_dcf: p_target -> normalised cost with C_MISS and C_FA.

    cllr, min_cllr: in bits. act_dcf and cllr judge log-likelihood ratios: empty and None where there are none.
    """

    eer: float
    eer_threshold: float
    min_dcf: dict[float, float]
    min_cllr: float
    targets: int
    nontargets: int
    protocol: Protocol
    act_dcf: dict[float, float]
    cllr: float | None

    def line(self) -> str:
        """The figures and their protocol in one printable line; the EER in per cent."""
        parts = [f"EER {100 * self.eer:.3f} %"]
        for p, value in self.min_dcf.items():
            costs = f"(p_target {p:g}, C_miss {C_MISS:g}, C_fa {C_FA:g})"
            parts.append(f"minDCF{costs} {value:.4f}" + (f", actDCF {self.act_dcf[p]:.4f}" if self.act_dcf else ""))
        parts.append(f"minCllr {self.min_cllr:.4f}" + ("" if self.cllr is None else f", Cllr {self.cllr:.4f}"))
        return " · ".join([*parts, self.counted_line()])

    def counted_line(self) -> str:
        """How many trials of each kind there are, and the protocol, in one printable line."""
        return f"{counted(self.targets, self.nontargets)} · {self.protocol.line()}"


def of_list(manifest: Manifest, name: str, normalisation: str = PLAIN) -> Protocol:
    """The protocol by which one model is scored on the list `name` of a manifest."""
    table, enrolled = manifest.named_trials(name), manifest.enrolled(name)
    digest = trials_digest(table)
    if enrolled:  # who stands behind a name is part of the list
        lines = [digest, *sorted(f"{enrol} {utterance}" for enrol, each in enrolled.items() for utterance in each)]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return Protocol(
        trials=f"{manifest.corpus}/{name}",
        count=len(table),
        digest=digest,
        enrolment=enrolment_rule(name, enrolled),
        normalisation=normalisation,
        seeds=1,
        synthetic=manifest.synthetic,
    )


def enrolment_rule(name: str, enrolled: Mapping[str, Sequence[str]]) -> str:
    """What one enrolment of the list `name` is; `enrolled`: the utterances of every name that stands for several."""
    if enrolled:
        fewest, most = min(map(len, enrolled.values())), max(map(len, enrolled.values()))
        return ONE if most == 1 else f"mean of {most if fewest == most else f'{fewest}–{most}'} utterances"
    return "1 recording joined from several" if name.endswith(CONCAT) else ONE


def evaluate(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    protocol: Protocol,
    p_targets: Sequence[float] = (0.01, 0.05),
    llrs: npt.ArrayLike | None = None,
) -> Result:
    """Figures of scores [T] with labels [T], and of their log-likelihood ratios [T] where there are some.

    MetricError on unusable input or another count than the protocol's.
    """
    points = operating_points(scores, labels)
    total = points.targets + points.nontargets
    if total != protocol.count:
        raise MetricError(
            f"{total:,} scores for the protocol of {protocol.trials}, which has {protocol.count:,} trials"
        )
    equal, costs = points.eer(), [float(p) for p in p_targets]
    return Result(
        eer=equal.value,
        eer_threshold=equal.threshold,
        min_dcf={p: points.min_dcf(p, C_MISS, C_FA).value for p in costs},
        min_cllr=least_cllr(points),
        targets=points.targets,
        nontargets=points.nontargets,
        protocol=protocol,
        act_dcf={} if llrs is None else {p: act_dcf(llrs, labels, p, C_MISS, C_FA) for p in costs},
        cllr=None if llrs is None else cllr(llrs, labels),
    )


def trials_digest(table: pa.Table) -> str:
    """SHA-256 (64 hex digits) of a trial table's content.

    Taken of its lines "label enrol test", sorted by these three, each by code point: equal for equal lists whatever
    the order of their trials or the way they are stored. `LC_ALL=C sort LIST | sha256sum` gives it for a published
    list, whose names have no blanks in them. Raises MetricError on missing columns or empty cells.
    """
    absent = [name for name in ("label", "enrol", "test") if name not in table.column_names]
    if absent:
        raise MetricError(f"the trial table lacks {', '.join(absent)}; it has {', '.join(table.column_names)}")
    # Through int8, so that a list with boolean labels has the digest of the same list with 0 and 1.
    columns = [
        table["label"].cast(pa.int8()).cast(pa.string()),
        *(table[n].cast(pa.string()) for n in ("enrol", "test")),
    ]
    names = [column.combine_chunks() for column in columns]
    empty = pc.sum(pc.or_(pc.or_(*(n.is_null() for n in names[:2])), names[2].is_null())).as_py()
    if empty:
        raise MetricError(f"{empty:,} of {table.num_rows:,} trials have an empty cell")
    order, digest = np.lexsort([_places(each) for each in reversed(names)]), hashlib.sha256()
    for start in range(0, len(order), BLOCK):
        rows = pa.array(order[start : start + BLOCK])
        lines = pc.binary_join_element_wise(*(each.take(rows) for each in names), " ").to_pylist()
        digest.update("".join(f"{line}\n" for line in lines).encode())
    return digest.hexdigest()


def _places(names: pa.Array) -> npt.NDArray[np.int64]:
    """Which in the order of all different names each of the names [T] is."""
    encoded = names.dictionary_encode()
    places = np.empty(len(encoded.dictionary), np.int64)
    places[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(places))
    return places[encoded.indices.to_numpy()]
