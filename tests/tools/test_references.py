"""One bibliography: whatever a lesson, the text or a benchmark cites is in it, and nothing else."""

import re

import pytest
import references

ENTRIES = references.entries()


@pytest.mark.parametrize("name", references.sources())
def test_every_citation_is_of_one_entry(name):
    listed, numbers = references.cited(references.sources()[name])
    assert listed or name in ("published versus obtained", "the data")
    for line in listed + numbers:
        for part in re.split(r"; (?=[A-Z][a-z]+ and )", line):  # two works on one line
            of = [key for key, entry in ENTRIES.items() if references.names(entry, part)]
            numbered = set(references.ARXIV.findall(part))
            assert len(of) == max(1, len(numbered)), f"{name}: {part}: {of}"


def test_every_entry_is_cited():
    assert [key for key, of in references.citers().items() if not of] == []


def test_an_entry_has_what_the_page_shows_and_no_address_twice():
    text = references.BIBLIOGRAPHY.read_text(encoding="utf-8")
    assert len(ENTRIES) == text.count("\n@") + text.startswith("@")
    assert all({"author", "title", "year"} <= entry.keys() for entry in ENTRIES.values())
    addresses = sum((references.addresses(entry) for entry in ENTRIES.values()), [])
    assert len(addresses) == len(set(addresses))


def test_a_citation_is_known_by_its_number_or_by_author_year_and_title():
    entry = {"author": "Székely and Rizzo", "title": "Energy: a name", "year": "2013"}
    assert references.names(entry, "Szekely and Rizzo (2013), *Energy - A name*, a journal.")
    assert not references.names(entry, "Szekely and Rizzo (2014), *Energy: a name*.")
    assert references.names(entry | {"eprint": "1234.56789"}, "see arXiv:1234.56789")


def test_the_page_says_where_each_is_cited():
    page = references.page()
    assert page.count("\n- ") == len(ENTRIES) == page.count("<br>Cited in [")
    assert (
        "lesson 01](../notebooks/01_the_elbo.ipynb)" in page and "[the text](the_elbo.md)" in page
    )


def test_entries_stand_by_first_author():
    first = [{"author": f"{name} and Abbeel", "year": "2020"} for name in ("Hoffman", "Ho")]
    assert sorted(enumerate(first), key=references.by_author)[0][1] == first[1]
