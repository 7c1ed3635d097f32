"""The site in a browser: search, links, the explorable by hand and by keyboard, accessibility."""

import re
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from stamp import ROOT

SITE = ROOT / "build" / "site"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
KINDS = [  # one page of each kind
    "index.html",
    "explore.html",
    "search.html",
    "docs/the_elbo.html",
    "docs/faq.html",
    "notebooks/03_the_gap.html",
    "api/evidence.html",
]
PHONE, DESK = (390, 844), (1440, 900)

pytestmark = pytest.mark.skipif(not PAGES, reason="needs the site: make site")


@pytest.fixture(scope="module")
def site(serve):
    return serve(SITE)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("page", [PHONE, DESK], ids=["phone", "desk"], indirect=True)
def test_a_page_fits_its_window_and_loads_in_full(site, page, name, complaints):
    page.goto(f"{site}/{name}", wait_until="networkidle")
    assert page.title()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    assert page.evaluate(broken) == []
    assert complaints == []


@pytest.mark.parametrize("name", KINDS)
def test_axe_finds_no_serious_violation(site, page, name):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.goto(f"{site}/{name}", wait_until="networkidle")
    found = axe.run(page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"][:200], len(v["nodes"])) for v in serious] == []


def test_formulas_are_set_without_a_network(site, page):
    page.goto(f"{site}/docs/the_elbo.html", wait_until="networkidle")
    page.wait_for_selector("mjx-container", state="attached")
    assert page.locator("mjx-container").count() > 20
    assert page.locator("mjx-merror").count() == 0


@pytest.mark.parametrize("words", ["posterior collapse", "NormalDiag", "spikes"])
def test_search_finds_a_lesson_or_a_name(site, page, words):
    page.goto(f"{site}/search.html?q={words}", wait_until="networkidle")
    page.wait_for_selector("ul.search li a")
    first = page.locator("ul.search li a").first
    target = first.get_attribute("href")
    first.click()
    page.wait_for_load_state()
    assert target.split("#")[0].split("?")[0].rsplit("/", 1)[-1] in page.url


def test_search_works_from_a_folder_without_a_server(page):
    page.goto(f"{SITE.as_uri()}/search.html?q=gap")
    page.wait_for_selector("ul.search li a")


def test_every_internal_link_and_anchor_leads_somewhere():
    anchors, links = {}, []
    for name in PAGES:
        text = (SITE / name).read_text(encoding="utf-8")
        anchors[name] = set(re.findall(r'\b(?:id|name)="([^"]+)"', text))
        links += [(name, href) for href in re.findall(r'<a\b[^>]*?\bhref="([^"]+)"', text)]
    lost = []
    for name, href in links:
        if re.match(r"[a-z]+:|//", href):
            continue
        path, anchor = urldefrag(unquote(urljoin(name, href)))
        if not (SITE / path).exists() or (anchor and anchor not in anchors.get(path, {anchor})):
            lost.append(f"{name} -> {href}")
    assert len(links) > 1000
    assert lost == []


def numbers(page):
    text = page.locator("#explore-numbers").inner_text().replace("\u2212", "-")
    found = re.search(r"log p\(x\) (-?[\d.]+), ELBO (-?[\d.]+), gap (-?[\d.]+)", text)
    return tuple(map(float, found.groups()))


def test_the_explorable_by_mouse(site, page, complaints):
    page.goto(f"{site}/explore.html", wait_until="networkidle")
    before = numbers(page)
    plane = page.locator("svg.plane")
    plane.scroll_into_view_if_needed()
    box = plane.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["width"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["width"] / 3, steps=5)
    page.mouse.up()
    page.wait_for_timeout(300)
    log_p, elbo, gap = numbers(page)
    assert log_p == before[0]  # q moved, and log p(x) does not know q
    assert elbo != before[1] and gap == pytest.approx(log_p - elbo, abs=0.011)
    milliseconds = page.evaluate(
        """async () => {
            const slider = document.querySelector('#explore input[type=range]');
            const shown = document.getElementById('explore-numbers');
            const times = [];
            for (let i = 0; i < 30; i++) {
                const old = shown.innerText, start = performance.now();
                slider.value = (i % 2 ? 1 : -1) * (0.3 + 0.05 * i);
                slider.dispatchEvent(new Event('input', { bubbles: true }));
                while (shown.innerText === old && performance.now() - start < 1000)
                    await new Promise((done) => setTimeout(done, 0));
                times.push(performance.now() - start);
            }
            return times.sort((a, b) => a - b)[15];
        }"""
    )
    print(f"median time from a move to the new numbers: {milliseconds:.1f} ms")
    assert complaints == []


def test_the_explorable_by_keyboard_alone(site, page):
    page.goto(f"{site}/explore.html", wait_until="networkidle")
    before = numbers(page)
    for _ in range(80):  # from the top of the page to the plane
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('plane')"):
            break
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    moved = numbers(page)
    assert moved[0] == before[0] and moved[1] != before[1]
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(e => e.getAttribute('aria-label') || e.innerText)(document.activeElement)"
            )
        )
    controls = page.evaluate(
        "[...document.querySelectorAll('#explore button, #explore input, #explore select')]"
        ".filter(e => !e.disabled).map(e => e.getAttribute('aria-label') || e.innerText)"
    )
    assert set(controls) <= reached
    page.get_by_role("button", name=re.compile("Optimise")).focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(3000)
    after = numbers(page)
    assert after[2] < moved[2] and after[0] == before[0]
