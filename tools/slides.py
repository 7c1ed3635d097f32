"""Makes slides of each lesson into build/slides (`make slides`): offline, from stored outputs.

A section of a lesson becomes a column of slides: its formula and what it says in words, then each
prediction and, on the slide after it, what the lesson found: the figure or the printed table. The
prose that a speaker says stands in the speaker's notes (key S). Proofs, checks and exercises stay
in the lesson. Reveal.js comes with sphinx-revealjs, so that nothing is loaded from a network.
"""

import base64
import re
import shutil
import subprocess
import sys

import nbformat
from stamp import ROOT, notebooks

SOURCE, TARGET = ROOT / "build" / "slides-source", ROOT / "build" / "slides"
SKIPPED = {"set-up", "proof", "check", "stub", "solution", "exercise"}
LAST = ("Exercises", "Recall", "References")  # sections that are no slides
LINES, WIDTH = 16, 84  # of a printed output that fits a slide
LARGE = 11, 62  # of one that is set in larger letters
BESIDE = 3  # lines of printed output that leave room for a figure below them
LIVE = "A live control"  # how the stored output of one begins
WORDS = 60  # of a paragraph that an audience reads
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]+\)")  # to a page that is not among the slides
ELSEWHERE = re.compile(r"@import url\([\"']?https?:[^)]*\);?")
FOUND = ("![", "```")  # how a figure and a printed output begin
BREAK = "\n```{revealjs-break}\n```\n"


def paragraphs(text):
    """The paragraphs of a cell, without folded parts and without links within the course."""
    text = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    return [LINK.sub(r"\1", part).strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def shown(paragraph):
    """Whether an audience sees a paragraph; the others are said."""
    formula = paragraph.startswith(("$$", "\\begin", "|"))
    marked = paragraph.startswith("**In words") or "**Predict" in paragraph
    return formula or (marked and len(paragraph.split()) <= WORDS)


def about_the_text(paragraph):
    """Whether a paragraph only says to which section of the text a lesson belongs."""
    return " of the text" in paragraph and len(paragraph.split()) <= 20


def question(paragraph):
    """A long paragraph with a prediction: its last sentences only, from the one that asks."""
    before, mark, after = paragraph.partition("**Predict")
    return (
        (before.rpartition(". ")[2] if len(before.split()) > WORDS // 3 else before) + mark + after
    )


def figure(output, path):
    """Writes a PNG output to a file. Returns the line that shows it, with its alt text."""
    path.write_bytes(base64.b64decode(output["data"]["image/png"]))
    alt = output.get("metadata", {}).get("image/png", {}).get("alt") or "A figure of the lesson."
    return f"![{alt.replace(']', ')').replace('[', '(')}]({path.name})"


def printed(output):
    """A short printed output as a block, or None."""
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    lines = text.rstrip().splitlines()
    if not lines or len(lines) > LINES or max(map(len, lines)) > WIDTH:
        return None
    if lines[0].startswith(("<", LIVE)):
        return None
    return "```text\n" + "\n".join(lines) + "\n```"


def sized(slide):
    """A slide whose printed outputs, if they are short enough, are set in larger letters."""
    printed = [one.split("\n")[1:-1] for one in slide if one.startswith("```")]
    lines = sum(printed, [])
    if not lines or len(lines) > LARGE[0] or max(map(len, lines)) > LARGE[1]:
        return slide
    around = "````{{container}} large\n{}\n````".format
    return [around(one) if one.startswith("```") else one for one in slide]


def height(paragraph):
    """About how many lines of a slide a paragraph takes."""
    if paragraph.startswith("|"):
        return 0.8 * paragraph.count("\n")
    if paragraph.startswith(("$$", "\\begin")):
        return 2.7 + 2.2 * paragraph.count("\\\\")
    return len(paragraph.split()) / 13 + 1.5


def found(cell, stem):
    """What a cell shows, ready for a slide."""
    for number, output in enumerate(cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            yield figure(output, SOURCE / f"{stem}-{cell.id}-{number}.png")
        elif block := printed(output):
            yield block


def column(cells, stem):
    """The slides of one section: [(what is shown, what is said)], the first under its heading."""
    slides = [([], [])]
    for cell in cells:
        if SKIPPED & set(cell.metadata.get("tags", [])):
            continue
        if cell.cell_type == "markdown":
            for part in paragraphs(cell.source):
                if "**Predict" in part:
                    slides.append(([question(part)], []))
                elif not shown(part):
                    slides[-1][1].append(part)
                elif slides[-1][0] and slides[-1][0][-1].startswith(FOUND):
                    slides.append(([part], []))
                elif slides[-1][0] and sum(map(height, [*slides[-1][0], part])) > LINES:
                    slides.append(([part], []))
                else:
                    slides[-1][0].append(part)
        for block in found(cell, stem):
            before = slides[-1][0]
            if before and before[-1].startswith("```") and fits([*before, block]):
                before.append(block)
            elif before and block.startswith("!") and beside(before):
                before.append(block)
            else:
                slides.append(([block], []))
    return slides


def fits(blocks):
    """Whether printed outputs, one below the other, fit a slide."""
    return all(block.startswith("```") for block in blocks) and (
        sum(block.count("\n") + 1 for block in blocks) <= LINES + 4
    )


def beside(blocks):
    """Whether a few printed lines, and nothing else, stand on a slide: a figure goes below them."""
    lines = sum(block.count("\n") - 1 for block in blocks)
    return all(block.startswith("```") for block in blocks) and lines <= BESIDE


def page(title, slides):
    """A section as MyST text."""
    parts = []
    for content, said in slides:
        text = "\n\n".join(sized(content)) or (said[0] if said else "")
        if notes := "\n\n".join(part for part in said if part != text):
            text += f"\n\n````{{revealjs-notes}}\n{notes}\n````"
        parts.append(text)
    return f"## {title}\n\n" + f"\n{BREAK}\n".join(part for part in parts if part) + "\n"


def sections(book):
    """[(heading, cells)], cells cut at their headings; the first is what stands before any."""
    result = [("", [])]
    for cell in book.cells:
        if cell.cell_type != "markdown":
            result[-1][1].append(cell)
            continue
        before, *rest = HEADING.split(cell.source)
        pieces = [(None, before), *zip(rest[::2], rest[1::2], strict=True)]
        for heading, text in pieces:
            if heading:
                result.append((heading, []))
            if text.strip():
                result[-1][1].append(nbformat.from_dict({**cell, "source": text}))
    return result


def deck(path):
    """The slides of a lesson as MyST text; its figures are written beside it."""
    (_, opening), *rest = sections(nbformat.read(path, as_version=4))
    title, *idea = paragraphs(opening[0].source)
    pictures = [block for cell in opening for block in found(cell, path.stem) if block[0] == "!"]
    lines = [title, "\n\n".join(part for part in idea if not about_the_text(part))]
    lines += pictures
    kept = [(heading, cells) for heading, cells in rest if heading not in LAST]
    lines += [page(heading, column(cells, path.stem)) for heading, cells in kept]
    return "\n\n".join(lines) + "\n"


def assemble():
    """Lays out the sources under build/slides-source."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "slides", SOURCE)
    names = []
    for path in notebooks():
        (SOURCE / f"{path.stem}.md").write_text(deck(path), encoding="utf-8")
        names.append(path.stem)
    front = "# Slides\n\n```{toctree}\n" + "\n".join(names) + "\n```\n"
    (SOURCE / "index.md").write_text(front, encoding="utf-8")


def main():
    """Assembles the sources and has Sphinx build them; a warning is an error."""
    assemble()
    shutil.rmtree(TARGET, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-b", "revealjs", "-W", "--keep-going", "-q"]
    done = subprocess.run([*command, str(SOURCE), str(TARGET)], cwd=ROOT)
    for style in TARGET.rglob("theme/*.css"):  # their web fonts would need a network
        style.write_text(ELSEWHERE.sub("", style.read_text(encoding="utf-8")), encoding="utf-8")
    if not done.returncode:
        print(f"open {(TARGET / 'index.html').relative_to(ROOT)}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
