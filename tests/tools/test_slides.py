"""The slides: what a lesson shows is on them, what it folds is not."""

import nbformat
import pytest
import slides
from stamp import notebooks


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "SOURCE", tmp_path)


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_a_deck_has_every_visible_figure_and_no_solution(path, tmp_path):
    text = slides.deck(path)
    book = nbformat.read(path, as_version=4)
    figures, folded = 0, []
    for cell in book.cells:
        tags = set(cell.metadata.get("tags", []))
        shows = sum("image/png" in one.get("data", {}) for one in cell.get("outputs", []))
        if tags & slides.SKIPPED:
            folded += [cell.source] if "solution" in tags else []
        else:
            figures += shows
    assert text.count("](" + path.stem) == len(list(tmp_path.glob("*.png"))) == figures > 0
    assert "A figure of the lesson" not in text  # each has its own alt text
    assert folded and "<details>" not in text
    assert "## Summary" in text and "## Exercises" not in text
    assert "](../" not in text


def test_a_section_begins_with_its_formula_and_asks_before_it_answers():
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    answer = code("print(3)", outputs=[nbformat.v4.new_output("stream", text="3\n")])
    cells = [markdown("$$a = b$$\n\nSaid.\n\n**Predict** b."), answer, markdown("So it is.")]
    assert slides.column(cells, "x") == [
        (["$$a = b$$"], ["Said."]),
        (["**Predict** b."], []),
        (["```text\n3\n```"], ["So it is."]),
    ]


def test_an_output_that_fits_no_slide_is_left_to_the_lesson():
    for text in ("x\n" * 40, "x" * 200, "<html>", "A live control appears here.\n"):
        assert slides.printed({"text": text}) is None


def test_a_short_output_is_set_in_large_letters_and_leaves_room_for_a_figure():
    short, long = "```text\n3 nats\n```", "```text\n" + "3 nats\n" * 15 + "```"
    assert slides.sized([short, "![a](b)"]) == [
        "````{container} large\n```text\n3 nats\n```\n````",
        "![a](b)",
    ]
    assert slides.sized([long]) == [long] and slides.sized(["**Predict** b."]) == ["**Predict** b."]
    assert slides.beside([short, short]) and not slides.beside([short, "$$a$$"])
    assert not slides.beside([long])


def test_formulas_that_fill_a_slide_go_on_on_the_next():
    formula = nbformat.v4.new_markdown_cell("$$a = b$$")
    assert [len(shown) for shown, _ in slides.column([formula] * 8, "x")] == [5, 3]
