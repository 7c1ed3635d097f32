"""The front page has the README's lessons and program; a lesson can be downloaded from its page."""

import json

import website
from nbformat.v4 import new_code_cell
from stamp import ROOT, notebooks

FRONT = website.front((ROOT / "docs" / "site" / "index.md").read_text(encoding="utf-8"))


def test_a_section_ends_with_its_last_table_or_program():
    text = (
        "# Title\n\n## One\n\n| a |\n| - |\n\nmore\n\n## Two\n\nSay:\n\n```python\n1\n```\n\nend\n"
    )
    assert website.section("One", text) == "| a |\n| - |"
    assert website.section("Two", text) == "Say:\n\n```python\n1\n```"


def test_the_front_page_has_the_lessons_and_the_program_of_the_readme():
    assert "<!--" not in FRONT
    for path in notebooks():
        assert f"](notebooks/{path.name})" in FRONT
    assert "import vae_tf as vt" in FRONT and "<= log p(x)" in FRONT


def test_both_front_pages_describe_the_picture_in_the_same_words():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = [text.split("](docs/bounds.png)")[0].split("![")[1] for text in (readme, FRONT)]
    assert pictures[0] == pictures[1] and len(pictures[0]) > 200


def test_a_folded_cell_is_called_by_its_title():
    assert website.name_of(new_code_cell("# @title Proof: it holds\nassert 1")) == "Proof: it holds"
    assert website.name_of(new_code_cell("x = 1")) == "Show the code"


def test_a_lesson_can_be_downloaded_from_its_page():
    path = notebooks()[0]
    assert f"<../download/{path.name}>" in website.lesson(path).cells[0].source
    assert json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_the_site_has_its_own_width():
    style = (ROOT / "docs" / "site" / "_static" / "site.css").read_text(encoding="utf-8")
    assert "width: 54em" in style
    assert '"site.css"' in (ROOT / "docs" / "site" / "conf.py").read_text(encoding="utf-8")
