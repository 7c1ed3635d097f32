"""docs/the_elbo.md: complete, linked, its numbers computed again, and spoken of by one name."""

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest

import vae_tf as vt

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "the_elbo.md"
TEXT = PAGE.read_text(encoding="utf-8")

ANCHORS = [
    "notation",
    "1-the-elbo-equation",
    "2-deriving-the-elbo-step-by-step",
    "3-the-gap-what-are-we-losing",
    "4-why-keep-q-close-to-the-prior",
    "5-the-two-terms-a-balancing-act",
    "6-summary",
]
SYMBOLS = [
    "x",
    "z",
    r"\theta",
    r"\phi",
    r"p_\theta(x \mid z)",
    "p(z)",
    r"p_\theta(x, z)",
    r"p_\theta(x)",
    r"q_\phi(z \mid x)",
    r"\mathrm{KL}(\cdot \Vert \cdot)",
]


def slug(heading):
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page):
    """The headings of a text; the cells of a lesson, which the site finds by their names."""
    if page.suffix == ".ipynb":
        return [cell["id"] for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]]
    headings = re.findall(r"^#{1,6} +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [slug(heading) for heading in headings]


def sections(level, text=TEXT):
    """{heading: what stands below it, up to the next heading of this level or a higher one}."""
    pieces = re.split(rf"^#{{1,{level}}} +(.+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(pieces[::2], pieces[1::2], strict=True))


def footnote(letter):
    (found,) = re.findall(rf"^> \*\*Footnote \({letter}\).*?(?=^$)", TEXT, re.DOTALL | re.MULTILINE)
    return found.replace("\n> ", " ")


def rows():
    """The cells of the table of symbols, without its heading."""
    lines = [line for line in sections(2)["Notation"].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def prose(path):
    """What a reader of a file sees."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    shown = [str(cell.get("outputs", "")) for cell in cells]
    return "\n".join([cell.source for cell in cells] + shown)


class TestWhatItHolds:
    def test_the_anchors_that_the_lessons_link_to(self):
        assert [anchor for anchor in anchors(PAGE) if anchor in ANCHORS] == ANCHORS

    def test_the_ten_symbols(self):
        assert [symbol.strip("$") for symbol, *_ in rows()] == SYMBOLS
        assert all(len(row) == 4 and all(row) for row in rows())

    def test_what_the_table_calls_them_in_code_runs(self):
        encoder = vt.networks.mlp(5, vt.layers.NormalDiag(2), hidden=(3,))
        vae = vt.VAE(encoder, vt.networks.mlp(2, vt.layers.Bernoulli(5), hidden=(3,)), seed=0)
        names = {"vt": vt, "vae": vae, "x": np.ones((4, 5), "float32"), "z": np.zeros((4, 2))}
        for row in rows():
            exec(row[-1].strip("`"), names)
        assert names["p_x"].event_shape == 5
        assert names["p_z"].event_shape == names["q_z"].event_shape == 2

    def test_the_seven_steps_of_which_one_is_an_inequality(self):
        steps = {title: body for title, body in sections(3).items() if title.startswith("Step ")}
        assert [title[:7] for title in steps] == [f"Step {n}:" for n in range(1, 8)]
        signs = [re.search(r"\$\$\n(=|\\geq|\\log)", body).group(1) for body in steps.values()]
        assert signs == [r"\log", "=", "=", r"\geq", "=", "=", "="]

    def test_words_and_mathematics_of_each_idea(self):
        ideas = {
            title: body for title, body in sections(3).items() if re.match("Step|Reason", title)
        }
        ideas |= {title: sections(2)[title] for title in sections(2) if re.match("[135]", title)}
        assert len(ideas) == 7 + 3 + 3
        for title, body in ideas.items():
            assert re.search("in words:", body, re.IGNORECASE), title
            assert re.search(r"in math[:,].*?\$\$\n.+?\n\$\$", body, re.I | re.DOTALL), title

    def test_each_section_ends_with_the_lesson_that_measures_it(self):
        for title, body in sections(2).items():
            if slug(title) in ANCHORS:
                last = body.strip().split("\n\n")[-1]
                assert last.startswith("*Measured") and "](../notebooks/" in last, title

    def test_it_links_to_each_lesson_of_its_sections(self):
        for lesson in ROOT.glob("notebooks/0[0-6]*.ipynb"):
            assert f"](../notebooks/{lesson.name})" in TEXT, lesson.name

    def test_five_sentences_and_three_footnotes(self):
        assert re.findall(r"^(\d)\. ", sections(2)["6. Summary"], re.MULTILINE) == list("12345")
        assert all(footnote(letter) for letter in "abc")


class TestGitHubShowsItsFormulas:
    def test_dollars_come_in_pairs_on_each_line(self):
        for line in TEXT.splitlines():
            assert line.count("$") % 2 == 0, line

    def test_nothing_that_markdown_would_take_out_of_a_formula(self):
        r"""Markdown reads \, and \| and \{ as escapes, and a table cell ends at |."""
        assert not re.findall(r"\\[^A-Za-z\s]", TEXT)
        for row in rows():
            assert len(row) == 4

    def test_displays_stand_alone(self):
        lines = TEXT.splitlines()
        fences = [n for n, line in enumerate(lines) if "$$" in line]
        assert all(lines[n] == "$$" for n in fences)
        for opens, closes in zip(fences[::2], fences[1::2], strict=True):
            assert not lines[opens - 1] and not lines[closes + 1] and all(lines[opens:closes])


def linked():
    """(page, target) of each link in the text, the other pages and the notebooks."""
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("notebooks/*.ipynb")]
    for page in sorted(pages):
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page)):
            if page.suffix == ".md" or "the_elbo.md" in target:
                yield page, target


def test_links_lead_to_a_file_and_a_heading():
    found = list(linked())
    assert len(found) > 20
    for page, target in found:
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


class TestFootnotes:
    def test_a_the_elbo_up_the_evidence_down(self):
        """All numbers with three decimals, in their order, from the closed forms."""
        x, variance = 2.0, 0.5

        def elbo(w):  # q = N(1, 1): E[(x - w z)^2] = (x - w)^2 + w^2, and KL(q || N(0, 1)) = 1/2
            squares = (x - w) ** 2 + w**2
            return -0.5 * np.log(2 * np.pi * variance) - squares / (2 * variance) - 0.5

        def log_p(w):  # x ~ N(0, w^2 + variance)
            total = w**2 + variance
            return -0.5 * np.log(2 * np.pi * total) - x**2 / (2 * total)

        before, after = 1.871, 1.0
        rise, fall = elbo(after) - elbo(before), log_p(before) - log_p(after)
        ends = [before, after, elbo(before), elbo(after), log_p(before), log_p(after)]
        computed = [f"{value:.3f}" for value in [*ends, rise + fall, rise, fall]]
        assert re.findall(r"-?\d+\.\d{3}", footnote("a")) == computed
        # The two closed forms, against a sum over a fine grid.
        z, step = np.linspace(-12, 12, 24001, retstep=True)
        for w in (before, after):
            joint = -0.5 * z**2 - (x - w * z) ** 2 / (2 * variance)
            joint -= 0.5 * np.log(2 * np.pi) + 0.5 * np.log(2 * np.pi * variance)
            log_q = -0.5 * (z - 1) ** 2 - 0.5 * np.log(2 * np.pi)
            assert np.isclose(np.log(np.exp(joint).sum() * step), log_p(w), rtol=0, atol=1e-9)
            summed = (np.exp(log_q) * (joint - log_q)).sum() * step
            assert np.isclose(summed, elbo(w), rtol=0, atol=1e-9)

    def test_b_a_mixture_of_spikes(self):
        """Its information, on one draw from each spike; the rest of the mean KL is its own."""
        scale, size = 1e-6, 1000
        rng = np.random.default_rng(0)
        means = np.sqrt(1 - scale**2) * rng.standard_normal(size)
        noise = rng.standard_normal(size)
        distances = (means[:, None] + scale * noise[:, None] - means) / scale  # [draw, spike]
        log_mixture = np.log(np.exp(-0.5 * distances**2).mean(axis=1))
        information = (-0.5 * noise**2 - log_mixture).mean()
        mean_kl = (0.5 * (means**2 + scale**2 - 1) - np.log(scale)).mean()
        assert information <= np.log(size)
        population = -np.log(scale)  # of the mean KL, for the means have variance 1 - scale^2
        computed = [population, np.log(size), mean_kl - information]
        assert re.findall(r"\d+\.\d", footnote("b")) == [f"{value:.1f}" for value in computed]
        assert f"{information:.1f}" == f"{np.log(size):.1f}"  # hardly two spikes overlap
        assert f"N = {size}" in footnote("b") and "10^{-6}" in footnote("b")

    def test_c_which_units_are_active(self):
        """The best size of a column of W, for each eigenvalue, on a fine grid."""
        eigenvalues = (4.0, 2.0, 1.0)

        def active(beta, variance):
            """With the best q, the objective is that of a Normal, at a noise of beta variance."""
            total = np.linspace(0, 6, 60001) + beta * variance
            values = [-0.5 * np.log(total) - eigenvalue / (2 * total) for eigenvalue in eigenvalues]
            return sum(int(value.argmax() > 0) for value in values)

        assert (active(1, 0.5), active(3, 0.5), active(1, 1.5)) == (3, 2, 2)
        said = re.sub(r"[$\\]", "", footnote("c"))
        assert "eigenvalues 4, 2, 1 and sigma^2 = 0.5, three units are active at beta = 1" in said
        assert "two at beta = 3; but with sigma^2 = 1.5, two already at beta = 1" in said

    def test_the_prices_of_reason_2(self):
        body = sections(3)["Reason 2: memorising gets a price"]
        scale = 0.01
        prices = [3**2 / 2, (scale**2 - 1) / 2 - np.log(scale), np.log(1000)]
        said = re.findall(r"adds (\d\.\d)|(\d\.\d) nats for 1000", body)
        assert ["".join(pair) for pair in said] == [f"{price:.1f}" for price in prices]


def speaking():
    """The files in which the course speaks to a reader."""
    found = [*ROOT.glob("*.md"), ROOT / "data" / "README.md", *ROOT.glob("docs/*.md")]
    for folder in ("vae_tf", "experiments", "notebooks"):
        found += [*ROOT.glob(f"{folder}/**/*.py"), *ROOT.glob(f"{folder}/*.ipynb")]
    return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)


@pytest.mark.parametrize("path", speaking(), ids=lambda path: str(path.relative_to(ROOT)))
def test_it_is_called_the_text(path):
    """No reader has "the document" that it once was."""
    assert not re.search(r"\bthe document\b|\(document\b|\bdocument, ", prose(path), re.IGNORECASE)


def test_its_licence_is_said_where_a_reader_looks():
    licence = (ROOT / "LICENSE-text").read_text(encoding="utf-8")
    assert "SPDX-License-Identifier: CC-BY-4.0" in licence
    assert "https://creativecommons.org/licenses/by/4.0/" in licence
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for named in ("[MIT](LICENSE)", "[CC BY 4.0](LICENSE-text)", "(docs/the_elbo.md)"):
        assert named in readme
