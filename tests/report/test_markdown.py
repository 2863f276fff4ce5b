import pytest

from vgsr.report.collect import ReportError
from vgsr.report.markdown import BEGIN, END, merged, table


def test_a_table_has_its_numbers_to_the_right():
    text = table(["arm", "EER %"], [["a | b", "1.0"]], numbers=[1])
    assert text == "| arm | EER % |\n| --- | ---: |\n| a \\| b | 1.0 |"


def test_a_new_page_has_a_title_and_the_generated_part(tmp_path):
    assert merged(tmp_path / "README.md", "Mine", "text\n") == f"# Mine\n\n{BEGIN}\ntext\n{END}\n"


def test_what_people_wrote_around_it_stays_to_the_letter(tmp_path):
    place = tmp_path / "README.md"
    before, after = "# My title\n\nWhat I think.\r\n\n", "\n\nAnd why…   \n"
    place.write_bytes(f"{before}{BEGIN}\nold\n{END}{after}".encode())
    assert merged(place, "Mine", "new") == f"{before}{BEGIN}\nnew\n{END}{after}"


def test_a_page_without_markers_keeps_all_of_it(tmp_path):
    place = tmp_path / "README.md"
    place.write_text("# By hand\n\nAll of it.\n")
    assert merged(place, "Mine", "new") == f"# By hand\n\nAll of it.\n\n{BEGIN}\nnew\n{END}\n"


@pytest.mark.parametrize(
    "text", [BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{BEGIN}{END}", f"{BEGIN}{END}{END}"]
)
def test_markers_that_are_no_pair_are_refused(tmp_path, text):
    place = tmp_path / "README.md"
    place.write_text(text)
    with pytest.raises(ReportError, match="the generated part must stand between"):
        merged(place, "Mine", "new")
    assert place.read_text() == text
