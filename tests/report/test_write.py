import re

import cv2
import pyarrow.parquet as pq
import pytest

from vgsr import report, tracking
from vgsr.report.collect import ReportError
from vgsr.report.markdown import BEGIN, END

PLOTS = ("det", "learning", "robustness_mine_clips")


@pytest.fixture(scope="module")
def written(store, tmp_path_factory):
    """The folder of the store's report."""
    folder = tmp_path_factory.mktemp("results") / "deep" / "mine"
    assert report.write(store.tracker, store.expected.name, folder) == folder / "README.md"
    return folder


def test_it_is_a_page_a_table_and_plots_for_both_screen_and_print(written):
    names = {"README.md", "runs.parquet", *(f"{name}.{kind}" for name in PLOTS for kind in ("png", "pdf"))}
    assert {path.name for path in written.iterdir()} == names
    assert pq.read_table(written / "runs.parquet").num_rows == 9
    for name in PLOTS:
        assert (written / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        picture = cv2.imread(str(written / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        assert 0.01 < (picture < 200).mean() < 0.5 and picture.std() > 10


def test_every_link_leads_to_a_file_beside_the_page(written):
    links = re.findall(r"\]\(([^)]+)\)", (written / "README.md").read_text())
    assert len(links) == 2 * len(PLOTS)
    assert all((written / link).is_file() for link in links)


def test_no_file_says_where_anything_lies(written, store):
    text = (written / "README.md").read_text()
    for place in (str(store.folder), str(written), "somebody/", "/home", "sqlite", "file:"):
        assert place not in text
        assert place.encode() not in (written / "runs.parquet").read_bytes()


def test_the_same_folder_is_attached_to_the_search(written, store):
    parent = tracking.search_run(store.tracker, store.expected.name)
    attached = tracking.attached(store.tracker, parent, "report")
    assert {path.name: path.read_bytes() for path in attached.iterdir()} == {
        path.name: path.read_bytes() for path in written.iterdir()
    }


def test_written_again_it_is_the_same_and_keeps_what_people_wrote(store, written, tmp_path):
    name = store.expected.name
    first = (written / "README.md").read_text()
    (tmp_path / "README.md").write_text(f"# Mine\n\nWhat I think.\n\n{BEGIN}\nold\n{END}\n\nWhy.\n")
    (tmp_path / "importance.png").write_bytes(b"of an earlier report")
    (tmp_path / "experiment.yaml").write_text("mine")
    report.write(store.tracker, name, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Mine\n\nWhat I think.\n\n") and text.endswith("\n\nWhy.\n")
    assert text.partition(BEGIN)[2].partition(END)[0] == first.partition(BEGIN)[2].partition(END)[0]
    assert not (tmp_path / "importance.png").exists()
    assert (tmp_path / "experiment.yaml").read_text() == "mine"
    attached = tracking.attached(store.tracker, tracking.search_run(store.tracker, name), "report")
    assert not (attached / "experiment.yaml").exists()  # what is none of the report's stays where it is
    for plot in PLOTS:
        assert (tmp_path / f"{plot}.png").read_bytes() == (written / f"{plot}.png").read_bytes()


def test_a_baseline_that_is_not_there_names_the_nearest(store, tmp_path):
    with pytest.raises(ReportError, match="no arm 'hard kd'; did you mean 'hard KD'"):
        report.write(store.tracker, store.expected.name, tmp_path / "new", "hard kd")
    assert not (tmp_path / "new").exists()


def test_a_broken_page_is_left_as_it_is(store, tmp_path):
    (tmp_path / "README.md").write_text(f"{END}{BEGIN}")
    with pytest.raises(ReportError, match="Mend them"):
        report.write(store.tracker, store.expected.name, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == f"{END}{BEGIN}"
