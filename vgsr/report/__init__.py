"""Reports: MLflow → a folder for people, `results/BENCHMARK`, with a page, a table of all runs, and plots.

In: a tracker and the name of a search. Out: files, and the same ones attached to the search in MLflow:

    write(tracking.connect(), "comparison-mine-1a2b3c4d", Path("results/comparison-mine"))
"""

from vgsr.report.collect import ReportError
from vgsr.report.write import BASELINE, write

__all__ = ["BASELINE", "ReportError", "write"]
