"""What strangers' names do to a terminal or a page, who may talk to our servers, and whose code MLflow runs."""

import io
import os
from types import SimpleNamespace

import pytest
from rich.table import Table
from typer.testing import CliRunner

from vgsr import tracking
from vgsr.cli import app
from vgsr.mistakes import PlainConsole, told
from vgsr.report import markdown
from vgsr.tracking import TrackingError, artifacts, trusted
from vgsr.training import state

NAME = "\x1b]0;owned\x07\x1b[2J[red]anna[/red] [link=http://x]\u202ebert\x9b31m\r"


def printed(act):
    target = io.StringIO()
    act(PlainConsole(file=target, force_terminal=True, width=200))
    return target.getvalue()


def test_names_are_letters_and_no_commands():
    def act(console):
        table = Table("who", title=NAME)
        table.add_row(NAME)
        console.print(table)
        console.print(NAME, style="red", highlight=False)
        with pytest.raises(SystemExit), told(console):
            raise state.CheckpointError(f"{NAME}: damaged\nsecond line")

    text = printed(act)
    assert text.count("[red]anna[/red]") == text.count("[link=http://x]") == 4  # rich's markup is not obeyed
    for sign in ("\x1b]0;", "\x1b[2J", "\x07", "\x9b", "\u202e", "\r"):
        assert sign not in text
    assert text.count("␛]0;owned") == 4 and "second line" in text and "\x1b[31m" in text  # our own colours are there


def test_names_on_a_page_are_no_html(tmp_path):
    row = ["<script>alert(1)</script>|x\n# heading", "<img src=x onerror=y>"]
    page = markdown.merged(
        tmp_path / "README.md", "t", f"{markdown.table(['a', 'b'], [row])}\n<!-- hidden\x1b[2J a < 3"
    )
    assert "<script" not in page and "<img" not in page and "\x1b" not in page and "\n# heading" not in page
    assert page.count("<!--") == 2 and "a < 3" in page  # the two markers


TRACKER = SimpleNamespace(uri="sqlite:////nowhere/mlflow.db", shown="", experiment_id="0")  # nothing here asks it


@pytest.fixture
def started(monkeypatch):
    """What would be started in place of this process: arguments and environment."""
    found = []
    monkeypatch.setattr(tracking, "connect", lambda *_: TRACKER)
    monkeypatch.setattr(tracking, "link", lambda _, base: base)

    def instead(path, arguments, surroundings):
        found.append((arguments, surroundings))
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", instead)
    return found


def test_the_servers_listen_on_loopback_alone(started, monkeypatch):
    monkeypatch.setattr(tracking, "registered", lambda *_: "file:///nowhere")
    monkeypatch.setattr(trusted, "check", lambda *_: None)
    for command in ("ui", "serve"):
        assert CliRunner().invoke(app, [command]).exit_code == 0
    for arguments, _ in started:
        assert arguments[arguments.index("--host") + 1] == "127.0.0.1" and "0.0.0.0" not in " ".join(arguments)
    assert CliRunner().invoke(app, ["ui", "--host", "10.0.0.1"]).exit_code == 0
    assert "10.0.0.1" in started[-1][0]  # for those who ask for it


def test_no_password_is_among_the_arguments(started, monkeypatch):
    secret = "postgresql://someone:neverprintthis@127.0.0.1/db"
    monkeypatch.setattr(tracking, "default_uri", lambda: secret)
    outcome = CliRunner().invoke(app, ["ui"])
    (arguments, surroundings) = started[-1]
    assert "neverprintthis" not in " ".join(arguments) + outcome.output
    assert surroundings["MLFLOW_BACKEND_STORE_URI"] == secret


GOOD = (
    "flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.loaders.code_model\n"
    "    model_code_path: /home/who/vgsr/tracking/from_code.py\n    code: null\n"
)


@pytest.mark.parametrize(
    ("description", "code"),
    [
        (GOOD, "import os; os.system('id')"),
        (GOOD.replace("code: null", "code: code"), None),
        (GOOD.replace("from_code.py", "other.py"), None),
        (GOOD.replace("loaders.code_model", "model"), None),
        ("flavors: !!python/object/apply:os.system ['id']", None),
        ("[" * 5000, None),
        ("flavors: {python_function: {loader_module: mlflow.sklearn}}", None),
        ("- 1", None),
        ("", None),
    ],
)
def test_code_of_others_is_not_served(tmp_path, description, code):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text(description)
    (folder / "from_code.py").write_text(code or trusted.OURS.read_text())
    with pytest.raises(TrackingError, match=r"not served: the code stored with it is not this version's"):
        trusted.check(TRACKER, folder.as_uri())
    (folder / "MLmodel").write_text(GOOD)
    (folder / "from_code.py").write_bytes(trusted.OURS.read_bytes())
    trusted.check(TRACKER, folder.as_uri())
    (folder / "from_code.py").unlink()
    with pytest.raises(TrackingError, match=r"it has no from_code\.py"):
        trusted.check(TRACKER, folder.as_uri())


def test_names_of_artifacts_lead_nowhere(tmp_path, monkeypatch):
    """A hostile MLflow server says what its artifacts are called."""
    for name in ("../../x", "/etc/x", "a/../../x", "..\\x"):
        listing = SimpleNamespace(list_artifacts=lambda _, n=name: [SimpleNamespace(is_dir=False, path=n, file_size=1)])
        monkeypatch.setattr(artifacts, "get_artifact_repository", lambda *_, found=listing: found)
        with pytest.raises(TrackingError, match="refused: an artifact in it is called"):
            artifacts.listed(SimpleNamespace(uri="x"), "http://127.0.0.1:9/x")
