import struct

import matplotlib
import pytest

from vgsr import style


def test_every_arm_looks_different_without_colours_too():
    names = ["no teacher", *(f"arm {number}" for number in range(12)), "shuffled", "random"]
    looks = style.looks(names, "no teacher", ["shuffled", "random"])
    assert set(looks) == set(names)
    assert len({(str(look.line), look.marker) for look in looks.values()}) == len(names)
    assert looks["no teacher"].line == style.SOLID
    assert {looks[name].line for name in ("shuffled", "random")} == {style.DOTTED}


def test_a_missing_baseline_has_no_look():
    assert set(style.looks(["a"], "no teacher", [])) == {"a"}


def test_the_users_settings_are_as_they_were():
    before = dict(matplotlib.rcParams)
    with pytest.raises(ZeroDivisionError), style.styled():
        assert matplotlib.rcParams["font.size"] == style.LABEL
        1 / 0  # noqa: B018
    assert dict(matplotlib.rcParams) == before


def test_no_text_is_too_small_to_read():
    assert min(value for key, value in style.SETTINGS.items() if "size" in key and "marker" not in key) >= 7


def test_a_plot_is_written_twice_alike_in_both_formats(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        with style.styled():
            figure, (axes,) = style.panels(1, 1, style.COLUMN, 2.0)
            axes.plot([0, 1], [0, 1], label="line")
            style.legend(figure, axes, 2)
            style.save(figure, tmp_path / folder / "plot")
    for kind in ("png", "pdf"):
        first, second = ((tmp_path / folder / f"plot.{kind}").read_bytes() for folder in ("one", "two"))
        assert first == second
    width, height = struct.unpack(">II", (tmp_path / "one" / "plot.png").read_bytes()[16:24])
    assert (width, height) == (round(style.COLUMN * style.DOTS), round(2.0 * style.DOTS))


def luminance(colour: str) -> float:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_no_colour_is_lost_on_white():
    for look in style.looks([f"arm {number}" for number in range(6)], "", ["control"]).values():
        assert luminance(look.colour) < 0.75
