"""The bibliography: docs/references.bib, and who cites each of its entries, as a page of the site.

A citation is a line below the heading References of a lesson or of the text, or a number of arXiv
anywhere in a page. It belongs to the entry that has its number or address; without one, to the
entry whose first author, year and title it names.
"""

import functools
import re
import unicodedata
from urllib.parse import urlsplit

import nbformat
from stamp import ROOT, notebooks

BIBLIOGRAPHY = ROOT / "docs" / "references.bib"
ENTRY = re.compile(r"^@(\w+)\{(\w+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)
ARXIV = re.compile(r"arxiv[:\s]*(?:\.org/abs/)?((?:cs/)?\d{7}|\d{4}\.\d{4,5})", re.IGNORECASE)
LISTED = re.compile(r"^[-*] +(.*(?:\n  .*)*)", re.MULTILINE)
PAGES = {
    "the text": "docs/the_elbo.md",
    "published versus obtained": "benchmarks/README.md",
    "the data": "data/README.md",
}


def entries(text=None):
    """{key: fields} of the bibliography; each field on a line of its own."""
    text = BIBLIOGRAPHY.read_text(encoding="utf-8") if text is None else text
    return {key: dict(FIELD.findall(fields)) for _, key, fields in ENTRY.findall(text)}


@functools.cache
def plain(text):
    """Letters and digits, without accents: what two spellings of one title share."""
    text = unicodedata.normalize("NFKD", text.lower())
    return re.sub(r"[^a-z0-9]", "", "".join(c for c in text if not unicodedata.combining(c)))


def addresses(entry):
    """What names the entry wherever it stands."""
    return [entry[name] for name in ("eprint", "doi", "url") if name in entry]


def names(entry, citation):
    """Whether a citation is of this entry."""
    if any(address in citation for address in addresses(entry)):
        return True
    first, title = entry["author"].split(" and ")[0], plain(entry["title"])
    words = plain(citation)
    return plain(first) in words and entry["year"] in citation and title in words


@functools.cache
def cited(path):
    """The citations of a page: those listed as references, and each number of arXiv."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    _, _, listed = text.partition("\n## References\n")
    numbers = [f"arXiv:{number}" for number in ARXIV.findall(text)]
    lines = [line for line in LISTED.findall(listed) if re.search(r"\b(?:19|20)\d\d\b", line)]
    return lines, sorted(set(numbers))


def sources():
    """{what it is called: its path} of every page that may cite."""
    lessons = {path.stem.partition("_")[0]: path for path in notebooks()}
    return lessons | {name: ROOT / path for name, path in PAGES.items()}


def citers():
    """{key: names of the sources that cite it}."""
    found = {key: [] for key in entries()}
    for name, path in sources().items():
        lines = sum(cited(path), [])
        for key, entry in entries().items():
            if any(names(entry, line) for line in lines):
                found[key].append(name)
    return found


def link(entry):
    """Where to read it, Markdown; an empty string if no address is known."""
    if "eprint" in entry:
        return f" [arXiv:{entry['eprint']}](https://arxiv.org/abs/{entry['eprint']})."
    if "doi" in entry:
        return f" [doi:{entry['doi']}](https://doi.org/{entry['doi']})."
    return f" [{urlsplit(entry['url']).netloc}]({entry['url']})." if "url" in entry else ""


def authors(entry):
    """A, B and C."""
    *most, last = entry["author"].split(" and ")
    return f"{', '.join(most)} and {last}" if most else last


def place(name):
    """A link to a source, from docs/."""
    path = sources()[name].relative_to(ROOT)
    text = name if name in PAGES else f"lesson {name}"
    return f"[{text}](../{path})" if path.parent.name != "docs" else f"[{text}]({path.name})"


def by_author(item):
    """The key that sorts entries: Ho before Hoffman, whoever comes after them."""
    _, entry = item
    return [plain(name) for name in entry["author"].split(" and ")], entry["year"]


def page():
    """The bibliography, Markdown: by first author, each with the lessons that cite it."""
    found = citers()
    lines = [
        "# References",
        "",
        "All that the lessons, the text and the benchmarks cite, by first author, with the places",
        "that cite it. What could not be verified (a first name, a page, an editor) is left out.",
        "As a file: {download}`references.bib`.",
        "",
    ]
    for key, entry in sorted(entries().items(), key=by_author):
        venue = entry.get("howpublished", entry.get("publisher", ""))
        title = entry["title"] + ("" if entry["title"][-1] in "?!" else ".")
        where = ", ".join(place(name) for name in found[key])
        text = f"{authors(entry)} ({entry['year']}). *{title}*{f' {venue}.' if venue else ''}"
        lines.append(f"- {text}{link(entry)}<br>Cited in {where}.")
    return "\n".join(lines) + "\n"
