"""The site: what is folded in a lesson is folded on its page, and each room has its reference."""

import importlib.util

import pytest
import website
from stamp import ROOT, notebooks

import vae_tf as vt


def configuration():
    path = ROOT / "docs" / "site" / "conf.py"
    spec = importlib.util.spec_from_file_location("site_configuration", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_a_page_folds_what_the_lesson_folds(path):
    for cell in website.lesson(path).cells:
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type == "code":
            assert ("hide-input" in tags) == bool(tags & website.FOLDED)
            assert all(website.SHOWN >= one.get("data", {}).keys() for one in cell.outputs)


def test_the_front_page_leads_to_every_lesson():
    front = (ROOT / "docs" / "site" / "index.md").read_text(encoding="utf-8")
    for path in notebooks():
        assert f"notebooks/{path.stem}\n" in front


@pytest.mark.parametrize("name", website.ROOMS)
def test_a_room_shows_all_that_it_offers(name):
    page = website.room_page(name)
    assert website.public(name)
    for each in website.public(name):
        assert f":: {each}\n" in page


def test_a_docstring_is_no_markup():
    conf = configuration()
    lines = ["Shape [K, *event], `x_train` and |a| of k_:", "", "    f(x) = x * y", "", "End *."]
    assert list(conf.page(lines)) == [
        r"Shape [K, \*event], ``x_train`` and \|a\| of k\_::",
        "",
        "    f(x) = x * y",
        "",
        r"End \*.",
    ]
    assert conf.plain(">>> 2 * x_") == ">>> 2 * x_"
    assert conf.plain("num_samples: K.") == r"num_samples: K\."
    assert list(conf.page(["Say.", "", "    f(x) = x", "", "- a", "", "    b"])) == [
        *("Say.", "", "::", "", "    f(x) = x", ""),
        *("- a", "", "    b"),
    ]


def test_a_class_says_what_its_init_takes():
    pytest.importorskip("sphinx")
    wrapped = vt.objectives.IWAE, {}, "(*args, **kwargs)", None
    given, _ = configuration().signature(None, "class", "vt.objectives.IWAE", *wrapped)
    assert given.startswith("(num_samples: int, gradient: str = ")
    protocol = vt.LatentModel, {}, "(*args, **kwargs)", None
    assert configuration().signature(None, "class", "vt.LatentModel", *protocol) == ("", None)
    assert configuration().signature(None, "function", "f", None, {}, "(x)", "int") == (
        "(x)",
        "int",
    )


def test_a_cell_that_a_page_names_is_a_link_to_its_anchor():
    book = website.lesson(ROOT / "notebooks" / "03_the_gap.ipynb")
    assert '<span id="up-and-down"></span>' in {cell.source for cell in book.cells}
    link = '<a href="../notebooks/03_the_gap.html#up-and-down">03_the_gap#up-and-down</a>'
    assert website.linked("see 03_the_gap#up-and-down.") == f"see {link}."


def test_a_link_to_a_cell_of_a_notebook_is_one_to_its_anchor():
    said = "[lesson 03](../notebooks/03_the_gap.ipynb#{})"
    link = '<a href="../notebooks/03_the_gap.html#up-and-down">lesson 03</a>'
    assert website.linked(said.format("up-and-down")) == link
    assert website.linked(said.format("4-same")) == said.format("4-same")  # a heading


def test_every_question_of_the_faq_leads_to_cells_that_exist():
    text = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    questions = text.split("\n### ")[1:]
    assert len(questions) >= 25
    for question in questions:
        cells = website.TO_CELL.findall(question)
        assert cells or "?" not in question.splitlines()[0]
        assert all(cell in website.cells(name) for _, name, cell in cells)


def test_a_reader_is_sent_to_no_address_that_nobody_knows():
    pages = [website.nbformat.writes(website.lesson(path)) for path in notebooks()]
    front = website.front((website.PAGES / "index.md").read_text(encoding="utf-8"))
    assert not any("OWNER/NAME" in page for page in [*pages, front])


def test_the_page_of_a_model_begins_with_what_users_call():
    page = website.room_page("")
    order = [page.index(f":: VAE.{name}\n") for name in ("fit", "elbo", "prior", "train_step")]
    assert order == sorted(order) and "autoproperty:: VAE.prior" in page
    assert ":: VAE.kl\n" not in page and ":: VAE.build\n" not in page


def test_a_public_name_on_a_page_is_a_link_to_the_reference():
    code = "```python\n`vt.VAE`\n```"
    said = f"`vt.VAE`, `vt.layers.Normal(3)`, `vt.gap`, `vt.layers.Nothing`, `x`\n{code}\n"
    page = website.linked(said, "../..")
    for where in ("vt.html#vae_tf.VAE", "layers.html#vae_tf.layers.Normal", "gap.html"):
        assert f'<a href="../../api/{where}">`vt.' in page
    assert "`vt.layers.Normal(3)`</a>" in page
    assert page.count("<a href") == 3 and page.endswith(f"`vt.layers.Nothing`, `x`\n{code}\n")


def test_every_public_name_has_its_room():
    assert {"VAE", "LatentModel", "sweep", "about"} <= website.public("").keys()
    rooms = set(vt.__all__) - website.public("").keys()
    assert rooms <= set(website.ROOMS)
