"""The repository's address stands in one place; a command carries it wherever it is needed."""

import shutil
import subprocess
import sys

import nbformat
import pytest
import stamp
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

BADGE = stamp.BADGE
OPENING = "# Title\n\nIts idea."
COLAB = "https://colab.research.google.com/github/ada/elbo/blob/main/notebooks/01_example.ipynb"


@pytest.fixture
def root(tmp_path):
    """A small repository with one notebook, stamped before the address is known."""
    (tmp_path / "notebooks").mkdir()
    shutil.copy(stamp.ROOT / "notebooks" / "_setup_cell.py", tmp_path / "notebooks")
    (tmp_path / "pyproject.toml").write_text('[tool.vae-tf]\nrepository = ""  # here\n')
    (tmp_path / "README.md").write_text(
        "A [lesson](notebooks/01_example.ipynb), a [page](docs/x.md)\n"
        "git clone https://github.com/OWNER/NAME.git\n"
    )
    printed = new_output("stream", text="as it was")
    set_up = new_code_cell("old", metadata={"tags": ["set-up"]}, outputs=[printed])
    book = new_notebook(
        cells=[new_markdown_cell(f"{BADGE}(01_example.ipynb)\n\n{OPENING}"), set_up]
    )
    nbformat.write(book, tmp_path / "notebooks" / "01_example.ipynb")
    stamp.stamp(tmp_path)
    return tmp_path


def read(root):
    """The notebook of the small repository."""
    return nbformat.read(root / "notebooks" / "01_example.ipynb", as_version=4)


def test_before_the_address_is_known_there_are_no_badges(root):
    assert read(root).cells[0].source == OPENING
    assert "Colab" not in (root / "README.md").read_text()


def test_the_set_up_cell_is_the_template(root):
    assert read(root).cells[1].source == stamp.set_up_source(root)
    assert stamp.UNKNOWN in stamp.set_up_source(root)
    assert stamp.FOLDED.items() <= read(root).cells[1].metadata.items()


def test_the_set_up_cell_is_six_lines_under_a_title(root):
    title, *lines = stamp.set_up_source(root).splitlines()
    assert title.startswith("# @title Set-up") and len(lines) <= 6


def test_the_address_goes_into_badges_and_set_up_cells(root):
    stamp.set_repository("ada/elbo", root)
    assert len(stamp.stamp(root)) == 2
    assert read(root).cells[0].source == f"{BADGE}({COLAB})\n\n{OPENING}"
    assert '"https://github.com/ada/elbo/archive/main.zip"' in read(root).cells[1].source
    lesson = f"A [lesson](notebooks/01_example.ipynb) ([Colab]({COLAB})), a [page](docs/x.md)\n"
    clone = "git clone https://github.com/ada/elbo.git\n"
    assert (root / "README.md").read_text() == lesson + clone


def test_outputs_stay_and_a_second_stamp_changes_nothing(root):
    stamp.set_repository("ada/elbo", root)
    stamp.stamp(root)
    assert read(root).cells[1].outputs[0].text == "as it was"
    assert stamp.stamp(root) == []


def test_another_address_replaces_the_first(root):
    for address in ("grace/other", "ada/elbo"):
        stamp.set_repository(address, root)
        stamp.stamp(root)
    assert read(root).cells[0].source == f"{BADGE}({COLAB})\n\n{OPENING}"
    assert (root / "README.md").read_text().count("Colab") == 1
    assert (
        root / "pyproject.toml"
    ).read_text() == '[tool.vae-tf]\nrepository = "ada/elbo"  # here\n'


@pytest.mark.parametrize("address", ["elbo", "https://github.com/ada/elbo", 'ada/el"bo', "a b/c"])
def test_what_is_no_address_is_refused(root, address):
    with pytest.raises(ValueError, match="Expected REPOSITORY .* Received"):
        stamp.set_repository(address, root)
    assert stamp.repository(root) == ""


def test_this_repository_is_stamped():
    readme = (stamp.ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == stamp.linked(readme), "run `make stamp`"
    assert [path.name for path in stamp.notebooks() if not stamped(path)] == [], "run `make stamp`"


def stamped(path):
    """Whether `make stamp` would leave the first cell of the notebook as it is."""
    first, *_ = nbformat.read(path, as_version=4).cells
    return stamp.badged(first.source, path.name) == first.source


def set_up(folder, **environment):
    """Runs the set-up cell in a folder, in a Python that sees no installed packages."""
    command = [sys.executable, "-S", "-c", stamp.set_up_source()]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def package(folder, says):
    """A package in the folder that only says where it is."""
    (folder / "vae_tf").mkdir(parents=True)
    (folder / "vae_tf" / "__init__.py").write_text(f"def about(): return {says!r}\n")


def test_the_set_up_cell_installs_nothing_where_the_package_is_at_hand(tmp_path):
    package(tmp_path / "installed", "installed")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "vae_tf-0-py3-none-any.whl").write_text("not to be opened")
    result = set_up(tmp_path / "notebooks", PYTHONPATH=str(tmp_path / "installed"))
    assert result.stdout == "installed\n", result.stderr


def test_the_set_up_cell_finds_a_checkout_above(tmp_path):
    package(tmp_path, "found above")
    (tmp_path / "course" / "notebooks").mkdir(parents=True)
    result = set_up(tmp_path / "course" / "notebooks")
    assert result.stdout == "found above\n", result.stderr


@pytest.mark.parametrize("found", ["vae_tf-0-py3-none-any.whl", None])
def test_elsewhere_it_installs_the_wheel_beside_it_or_from_github(tmp_path, found):
    """Here pip is a module that says what it was asked for; an empty folder is no package."""
    (tmp_path / "vae_tf").mkdir()
    (tmp_path / "pip.py").write_text("import sys; print(*sys.argv[1:])")
    if found:
        (tmp_path / found).write_text("")
    address = f"https://github.com/{stamp.repository() or stamp.UNKNOWN}/archive/main.zip"
    result = set_up(tmp_path)
    assert result.stdout == f"install -qq --no-deps arviz-stats {found or address}\n"
    assert "vae_tf" in result.stderr, "what pip did not bring cannot be imported"
