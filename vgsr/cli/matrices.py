"""Matrices for people and files: shown as a table a trial list, written as Parquet, Markdown and a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from vgsr.cli.app import console

if TYPE_CHECKING:
    from vgsr.cli.places import Tested
    from vgsr.evaluation.matrix import Matrix

Systems = Mapping[str, Sequence["Matrix"]]  # column → one matrix, or one a seed


def show(systems: Systems) -> None:
    """One trial list: a row a condition, then the means, then what they are over and how all was measured."""
    from vgsr.evaluation import matrix

    head, *rows = matrix.grid(systems)
    table = Table(title=_title(systems), title_justify="left")
    for place, heading in enumerate(head):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    for row, after in zip(rows, [*rows[1:], [""]], strict=True):
        table.add_row(*row, end_section=after[0].startswith("mean") and not row[0].startswith("mean"))
    console.print(table)
    for line in matrix.notes(systems):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def write(folder: Path, found: "Sequence[tuple[Tested, Mapping[str, Matrix]]]", by_list: Mapping[str, Systems]) -> None:
    """matrix.parquet with every figure, matrix.md with the tables, eer_vs_snr.pdf and .png (a plot a trial list)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from vgsr.evaluation import matrix, robustness_plot
    from vgsr.evaluation.disturbances import NOISES
    from vgsr.report.markdown import table

    schema = pa.schema([("trials", pa.string()), ("system", pa.string()), ("seed", pa.int64())])
    schema = pa.schema([*schema, *matrix.TABLE, pa.field("protocol", pa.string())])
    figures = [
        {
            **figure,
            "trials": each.protocol.trials,
            "system": one.system,
            "seed": one.model.experiment.seed,
            "protocol": each.protocol.line(),
        }
        for one, matrices in found
        for each in matrices.values()
        for figure in each.table().to_pylist()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(figures, schema), folder / "matrix.parquet")
    parts = []
    for name, systems in by_list.items():
        head, *rows = matrix.grid(systems)
        notes = "\n".join(f"- {line}" for line in matrix.notes(systems))
        parts.append(f"## {_title(systems)}\n\n{table(head, rows, range(1, len(head)))}\n\n{notes}\n")
        if any(one.kind in NOISES for each in systems.values() for one in each[0].eer):
            robustness_plot.plot(systems, folder / ("eer_vs_snr" if len(by_list) == 1 else f"eer_vs_snr-{name}"))
    (folder / "matrix.md").write_text("\n".join(parts), encoding="utf-8")
    console.print(f"matrix.parquet, matrix.md and the plots: {folder}", soft_wrap=True)


def _title(systems: Systems) -> str:
    return f"{next(iter(systems.values()))[0].protocol.trials}: EER %"
