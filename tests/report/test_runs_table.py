import pyarrow.parquet as pq

from vgsr.report import runs_table


def test_every_run_is_a_row_with_its_settings_and_figures(comparison, tmp_path):
    runs_table.write(comparison, tmp_path / "runs.parquet")
    rows = {row["run_id"]: row for row in pq.read_table(tmp_path / "runs.parquet").to_pylist()}
    assert len(rows) == len(comparison.runs) == 13
    for arm in comparison.arms:
        for run in arm.runs:
            row = rows[run.run_id]
            assert (row["name"], row["arm"], row["seed"], row["state"]) == (run.name, arm.name, run.seed, run.state)
            assert (row["control"], row["searched"], row["seconds"]) == (arm.control, False, 60.0)
            assert {key for key in run.figures} == {
                key.removeprefix("figures.") for key, value in row.items() if key.startswith("figures.") and value
            }
            assert all(row[f"figures.{key}"] == value for key, value in run.figures.items())
            assert row["params.distill.margin.value"] == run.params["distill.margin.value"]


def test_no_cell_has_a_folder_in_it(comparison):
    table = runs_table.rows(comparison)
    cells = {cell for column in table.itercolumns() for cell in column.to_pylist() if isinstance(cell, str)}
    assert not [cell for cell in cells if "/home" in cell or "/data" in cell or "somebody" in cell]
    assert "Traceback\nOSError: no space left on …/runs" in cells
