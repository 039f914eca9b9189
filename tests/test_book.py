"""The built book: links that resolve, pictures with words, and the extension behind both."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import coursebook
import folds
import house
import prices
import pytest
import sources
import torch
import yaml
from chapterfiles import ROOT, chapters, name_of
from chapterfiles import pages as listed_pages
from course import as_it_stands, course, git
from docutils import nodes

from gptlib import corpus
from gptlib.attention import CausalSelfAttention
from gptlib.gpt import GPT, GPTConfig, training_memory
from gptlib.tokenizer import BPETokenizer

CHAPTERS = chapters(course())


class Page(HTMLParser):
    """The ids, the links and the pictures of one page."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.images = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            self.ids.add(attributes["id"])
        if tag == "a" and attributes.get("name"):
            self.ids.add(attributes["name"])
        for name in ("href", "src"):
            if attributes.get(name) is not None:
                self.links.append(attributes[name])
        if tag == "img":
            self.images.append(attributes)


def read(folder: Path) -> dict[Path, Page]:
    """Every page of a folder of HTML."""
    return {
        path: Page(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.html"))
        if path.relative_to(folder).parts[0] != "_static"
    }


def broken_links(pages: dict[Path, Page]) -> list[str]:
    """The links inside the book that lead to no file or to no anchor."""
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target = target / "index.html"
            anchor = unquote(parts.fragment)
            missing_anchor = anchor and target in pages and anchor not in pages[target].ids
            if not target.exists() or missing_anchor:
                broken.append(f"{path.name}: {link}")
    return broken


@pytest.fixture(scope="module")
def pages(html):
    return read(html.resolve())


def test_every_internal_link_and_anchor_resolves(pages):
    assert len(pages) > 8
    assert broken_links(pages) == []


def test_every_picture_has_words(pages):
    assert sum(len(page.images) for page in pages.values()) > 40
    silent = [(p.name, i) for p, page in pages.items() for i in page.images if not i.get("alt")]
    assert silent == []


def parts_of(path: Path, page: Page) -> list[Path]:
    """A page, its pictures, and the scripts of its widgets; not what every page has."""
    linked = [path.parent / unquote(urlsplit(link).path) for link in page.links]
    return [path, *(part for part in linked if part.parent.name in ("_images", "widgets"))]


def test_a_page_with_its_widgets_is_below_two_and_a_half_megabytes(pages):
    """Nothing packed. The host comes once, and to no page without a widget."""
    alive = 0
    for path, page in pages.items():
        parts = [part.resolve() for part in parts_of(path, page)]
        assert sum(part.stat().st_size for part in set(parts)) < 2_500_000, path
        hosts = [part for part in parts if part.name == "host.js"]
        widgets = [image for image in page.images if "widget-" in image.get("class", "")]
        assert len(hosts) == bool(widgets), path
        alive += len(widgets)
    assert alive >= len(CHAPTERS)


def test_every_page_of_the_book_is_in_it(html):
    listed = listed_pages()
    assert len(listed) == len(set(listed)) > 12
    assert [name for name in listed if not (html / f"{name}.html").exists()] == []
    for path in (ROOT / "book").glob("*.md"):
        assert f"book/{path.stem}" in listed, f"{path.name} is missing from _toc.yml"


def test_every_notebook_that_is_handed_out_is_in_the_book():
    """A copy that a reader made in chapters/ is theirs; what git has is the course's."""
    known = git(ROOT, "ls-files", "-z", "--", "chapters/*.ipynb")
    stored = set(known.strip("\0").split("\0")) if known else set()
    if known is None and as_it_stands():  # no git, and nobody has worked here
        stored = {name_of(path) for path in (ROOT / "chapters").glob("*.ipynb")}
    listed = {name_of(path) for path in chapters()}
    assert len(listed) >= 8 and stored <= listed


def test_each_chapter_can_be_downloaded_as_it_stands(html, pages):
    for chapter in CHAPTERS:
        source = html / "_sources" / "chapters" / chapter.name
        assert source.read_bytes() == chapter.read_bytes()
        page = pages[(html / "chapters" / chapter.stem).with_suffix(".html").resolve()]
        assert f"../_sources/chapters/{chapter.name}" in page.links


def test_buttons_to_other_sites_stand_only_where_an_address_is_set(pages):
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    address = settings["repository"]["url"]
    for path, page in pages.items():
        colab = [link for link in page.links if "colab.research" in link]
        is_chapter = path.parent.name == "chapters"
        assert bool(colab) == bool(address and is_chapter), path


def test_an_address_brings_the_buttons_back():
    for address in ("", "https://example.org/a/gpt"):
        options = {"repository_url": address, "launch_buttons": {"colab_url": "x"}}
        coursebook.no_dead_buttons(None, SimpleNamespace(html_theme_options=options))
        assert bool(address) == ("launch_buttons" in options) == ("repository_url" in options)
        assert bool(address) == options.get("use_repository_button", False)


def test_a_story_that_is_printed_word_by_word_is_a_story_on_the_page(html):
    text = (html / "chapters" / "08_generation.html").read_text(encoding="utf-8")
    printed = text[text.rindex("decode_iterable") :].split("<pre>")[1].split("</pre>")[0]
    assert len(printed.split()) > 50 and len(printed.strip().splitlines()) == 1


def test_every_reference_has_a_link():
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    entries = text.split("\n@")
    assert len(entries) > 60
    links = ("  url ", "eprint", "\\url{")
    assert [e.split(",")[0] for e in entries if not any(link in e for link in links)] == []


def test_a_folded_solution_is_folded(html):
    text = "".join(
        (html / "chapters" / f"{chapter.stem}.html").read_text(encoding="utf-8")
        for chapter in CHAPTERS
    )
    assert "<summary>" in text and "<details open" not in text
    assert "&lt;details" not in text and "&lt;summary" not in text


def test_the_set_up_cell_is_not_on_the_page(html):
    for chapter in CHAPTERS:
        page = (html / "chapters" / f"{chapter.stem}.html").read_text(encoding="utf-8")
        assert "find_spec" not in page


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<h1 id="x">a</h1><a href="b.html#y">b</a>')
    (tmp_path / "b.html").write_text('<a href="a.html#x">a</a><a href="c.html">c</a>')
    assert broken_links(read(tmp_path.resolve())) == ["a.html: b.html#y", "b.html: c.html"]


# The start page's figure -------------------------------------------------------------------------


def test_the_prices_of_the_words_add_up_to_the_story_s(html):
    page = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    story = prices.quoted(page)
    words = prices.priced(story, ROOT)
    assert " ".join(word for word, _ in words) == story
    (verdict,) = corpus.judge(story).verdicts
    assert sum(nats for _, nats in words) == pytest.approx(verdict.nats)
    assert words[-1] == ("diary.", 0)


def test_the_start_page_s_figure_is_its_story_with_a_bar_on_each_choice(html):
    from bs4 import BeautifulSoup

    page = BeautifulSoup((html / "book" / "intro.html").read_text(encoding="utf-8"), "html.parser")
    figure = page.select_one("figure.prices")
    told = " ".join(page.select_one("article blockquote").get_text().split())
    assert figure.select_one("p").get_text() == told
    bars = [bar.get_text().strip(",.“”?") for bar in figure.select("b")]
    assert {"Nora", "quiet", "blue", "lantern", "beaver"} <= set(bars) and len(bars) < 30
    assert bars.count("blue") == bars.count("beaver") == 1  # later they must come, and are free


def test_a_quotation_that_is_no_story_stops_the_build():
    with pytest.raises(ValueError, match="no story of the grammar"):
        prices.priced("Nora was a quiet boy.", ROOT)


# The package's code ------------------------------------------------------------------------------


def test_every_import_of_gptlib_leads_to_the_code_that_it_imports(html):
    from bs4 import BeautifulSoup

    seen = 0
    for chapter in CHAPTERS:
        page = (html / "chapters" / f"{chapter.stem}.html").read_text(encoding="utf-8")
        for cell in BeautifulSoup(page, "html.parser").select(".cell_input"):
            code = cell.select_one("pre").get_text()
            wanted = house.imports_of(code, house.modules_in(ROOT)) if "gptlib" in code else set()
            addresses = [a["href"].split("#")[0] for a in cell.select(".sources a")]
            assert sorted(addresses) == sorted(f"../{sources.page_of(m)}.html" for m in wanted)
            seen += len(wanted)
    assert seen > 60


def test_every_module_has_a_page_with_its_code_as_it_stands(html):
    from bs4 import BeautifulSoup, SoupStrainer

    modules, only = house.modules_in(ROOT), SoupStrainer(class_="highlight")
    for module, path in modules.items():
        if module:
            page = (html / f"{sources.page_of(module)}.html").read_text(encoding="utf-8")
            soup = BeautifulSoup(page, "html.parser", parse_only=only)
            code = soup.select_one(".highlight pre").get_text()
            assert code.strip() == path.read_text(encoding="utf-8").strip(), module
    assert len(modules) > 40


def test_a_chapter_names_what_it_builds(html):
    for number, modules in house.chapters_of(house.table()).items():
        for path in (html / "chapters").glob(f"{number:02}_*.html"):
            page = path.read_text(encoding="utf-8")
            for module in modules:
                assert f">gptlib.{module}</a>" in page.split("After this chapter")[0]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from gptlib import corpus", {"corpus": set()}),
        ("from gptlib.given import plots, files", {"given.plots": set(), "given.files": set()}),
        ("from gptlib.bigram import a, b", {"bigram": {"a", "b"}}),
        ("import torch\nfrom os import path", {}),
        ("no python (", {}),
    ],
)
def test_what_a_cell_imports_of_gptlib(code, found):
    assert sources.imported(code, house.modules_in(ROOT)) == found


# The extension -----------------------------------------------------------------------------------

GLOSSARY = """# Glossary

:::{glossary}
**byte pair encoding**
**BPE**
  Merging. Chapter 1.

**entropy**
  Surprise, in nats.

  For example, a coin. Chapter 2.

**loss**
  What is made small.
:::
"""


def test_the_glossary_is_read_with_the_chapter_of_each_term():
    terms = coursebook.glossary_terms(GLOSSARY)
    assert terms == {"byte pair encoding": 1, "BPE": 1, "entropy": 2, "loss": 1}


@pytest.mark.parametrize(
    ("term", "text", "found"),
    [
        ("token", "Two tokens.", "tokens"),
        ("token", "A tokenizer.", None),
        ("entropy", "Entropies differ", "Entropies"),
        ("loss", "many losses", "losses"),
        ("cross-entropy", "the cross-entropy is", "cross-entropy"),
        ("entropy", "the cross-entropy is", None),
        ("BPE", "bpe is", None),
        ("causal mask", "the causal\nmask", "causal\nmask"),
    ],
)
def test_a_term_is_found_as_a_whole_word(term, text, found):
    hit = coursebook.term_pattern(term).search(text)
    assert (hit and hit[0]) == found


def test_the_real_glossary_is_read():
    terms = coursebook.glossary_terms((ROOT / "book" / "glossary.md").read_text(encoding="utf-8"))
    assert len(terms) >= 35 and {"token", "logits", "causal mask"} <= set(terms)
    assert terms["causal mask"] == 3
    missing = {term for term in coursebook.EVERYDAY if term not in terms}
    assert not missing, f"listed as everyday words, but not in the glossary: {missing}"


def test_chapters_link_to_the_glossary_once_a_term(html, pages):
    for chapter in CHAPTERS:
        page = pages[(html / "chapters" / f"{chapter.stem}.html").resolve()]
        links = [link for link in page.links if "glossary.html#term-" in link]
        assert links and len(links) == len(set(links)), chapter.stem


# What a page folds --------------------------------------------------------------------------------


def test_figures_are_numbered_and_captioned(html):
    from bs4 import BeautifulSoup

    hidden = 0
    for chapter in CHAPTERS:
        page = (html / "chapters" / f"{chapter.stem}.html").read_text(encoding="utf-8")
        figures = BeautifulSoup(page, "html.parser").select(".with-figure")
        number = int(chapter.stem[:2]) if chapter.stem[0].isdigit() else chapter.stem[0].upper()
        for n, figure in enumerate(figures, 1):
            below = figure.select_one(".figure-number").get_text()
            assert re.fullmatch(rf"Figure {number}\.{n}\. \S.*\.", below), below
            hidden += figure.find_parent(class_="answer") is not None
        assert figures, chapter.stem
    assert hidden > 5  # a caption goes with its figure, into an answer that is folded, too


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ('plots.show(\n    fig,\n    alt=(\n        "It "\n        "falls."\n    ),\n)',
         'plots.show(\n    fig,\n    alt="…",\n)'),
        ('alt = (\n    "Über"\n    f"{a}."\n)\nplots.show(fig, alt=alt)',
         'alt = "…"\nplots.show(fig, alt=alt)'),
        ('draw(ids, alt="A" + ", ".join(names))', 'draw(ids, alt="…")'),
        ("x = f(alt=other)", "x = f(alt=other)"),
        ("no python (", "no python ("),
    ],
)  # fmt: skip
def test_the_words_of_a_figure_leave_its_code(code, shown):
    assert folds.without_words(code) == shown


@pytest.mark.parametrize(
    ("code", "check"),
    [
        ("assert a < b", True),
        ("few = 1\nassert few < b", True),
        ("for a in b:\n    assert a", True),
        ("for a in b:\n    c[a] = train(a)\n    assert c[a]", False),
        ("print(a)\nassert a", False),
        ("a = 1", False),
    ],
)
def test_a_cell_that_only_asserts_is_a_check(code, check):
    assert folds.is_check(code) == check


def test_assertions_at_the_end_are_set_apart():
    assert folds.before_checks("a = 1\nprint(a)\n\n# so\nassert a\nassert a > 0") == (
        "a = 1\nprint(a)",
        "# so\nassert a\nassert a > 0",
    )
    assert folds.before_checks("assert a\nprint(a)") == ("assert a\nprint(a)", "")


def paragraph(*words):
    """A paragraph of plain and, in lists, of bold words."""
    parts = [nodes.strong("", *w) if isinstance(w, list) else nodes.Text(w) for w in words]
    return nodes.paragraph("", "", *parts)


@pytest.mark.parametrize(
    ("words", "said", "stays"),
    [
        (["Five. Every place is a question."], "Five. Every place is a question.", ""),
        (["Nearly: in another order. And nothing leaks:"], "Nearly: in another order.",
         "And nothing leaks:"),
        (["As a picture:"], None, "As a picture:"),
        (["So the question has two sides. One."], None, "So the question has two sides. One."),
        (["The list is a ", ["vocabulary"], ". More."], None, "The list is a vocabulary. More."),
        ([["None"], ". There are no more."], "None. There are no more.", ""),
    ],
)  # fmt: skip
def test_the_answer_is_taken_out_of_the_words_below(words, said, stays):
    below = paragraph(*words)
    answer = folds.answer_of(below)
    assert (answer.astext() if answer else None) == said
    assert below.astext() == stays


# What the glossary says, computed -----------------------------------------------------------------


def test_glossary_after_q_comes_u():
    text = "\n".join(story.text for story in corpus.stories(500, seed=0))
    behind = {b for a, b in pairwise(text) if a == "q"}
    assert behind == {"u"}


def test_glossary_the_first_merge():
    tokenizer = BPETokenizer.train("aaabdaaabac", 257)
    assert tokenizer.vocab[256] == b"aa"


@pytest.mark.parametrize("gradient", [5.0, 0.00005])
def test_glossary_the_first_step_of_adamw(gradient):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.01)
    weight.grad = torch.tensor([gradient])
    optimizer.step()
    assert weight.item() == pytest.approx(-0.1, rel=1e-3)


def test_glossary_without_its_averages_a_run_that_goes_on_is_another_run():
    def end(kept: bool) -> float:
        weight = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.AdamW([weight], lr=0.1)
        for step in range(6):
            if step == 3:
                state, optimizer = optimizer.state_dict(), torch.optim.AdamW([weight], lr=0.1)
                if kept:
                    optimizer.load_state_dict(state)
            weight.grad = torch.tensor([10.0 if step < 3 else 1.0])
            optimizer.step()
        return weight.item()

    assert end(kept=True) == end(kept=True) and abs(end(kept=True) - end(kept=False)) > 0.01


def longest_shared_run(words: list[str], texts: list[list[str]]) -> int:
    n = 1
    while True:
        seen = {tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)}
        if not any(tuple(words[i : i + n]) in seen for i in range(len(words) - n + 1)):
            return n - 1
        n += 1


def test_glossary_unseen_stories_share_runs_with_those_of_their_plot():
    """The control: equally many stories of the other plots, with which they share shorter ones."""
    read = corpus.stories(1000, seed=0)
    same, others = [], []
    for story in corpus.stories(24, seed=1):
        of_plot = [s.text.split() for s in read if s.plot == story.plot][:50]
        of_others = [s.text.split() for s in read if s.plot != story.plot][:50]
        assert len(of_plot) == len(of_others) == 50
        same.append(longest_shared_run(story.text.split(), of_plot))
        others.append(longest_shared_run(story.text.split(), of_others))
    assert min(same) >= 7 and sum(same) > 1.5 * sum(others)


def test_glossary_batch_norm_and_layer_norm():
    torch.manual_seed(0)
    x = torch.randn(4, 8)
    other = torch.cat([x[:1], torch.randn(3, 8) * 5])
    by_batch, by_layer = torch.nn.BatchNorm1d(8), torch.nn.LayerNorm(8)
    assert not torch.allclose(by_batch(x)[0], by_batch(other)[0], atol=0.01)
    assert torch.allclose(by_layer(x)[0], by_layer(other)[0])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_glossary_an_untrained_tied_model_says_what_it_reads(seed):
    ids = torch.arange(40)[None]
    said = {}
    for tied in (True, False):
        torch.manual_seed(seed)
        model = GPT(GPTConfig(vocab_size=500, context_length=64, n_layer=2, n_head=2, n_embd=64))
        head = model.head if tied else torch.nn.Linear(64, 500, bias=False)
        stream = model.token_embedding(ids) + model.position_embedding(torch.arange(40))
        said[tied] = (head(model.final_norm(stream)).argmax(dim=-1) == ids).float().mean().item()
    assert said[True] > 0.9 and said[False] < 0.1


def test_glossary_one_layer_without_positions_reads_a_bag_of_words():
    torch.manual_seed(0)
    words = torch.randn(3, 16)  # dog, bites, man
    layer = CausalSelfAttention(16, 2, 8)
    one = torch.stack([words[0], words[1], words[2], words[1]])[None]
    other = torch.stack([words[2], words[1], words[0], words[1]])[None]
    assert torch.allclose(layer(one)[0, -1], layer(other)[0, -1], atol=1e-6)


def test_glossary_activations_take_25_times_the_memory_of_the_weights():
    parts = training_memory(GPTConfig.preset("stories"), batch_size=8)
    assert round(parts["activations"] / parts["weights"]) == 25


def test_glossary_every_term_of_the_page_stands_in_the_glossary():
    page = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    entries = [name for names, _ in coursebook.glossary_entries(page) for name in names]
    assert entries == re.findall(r"(?m)^\*\*(.+)\*\*$", page)


def test_glossary_factors_multiply():
    assert f"{0.3**64:.0e}" == "3e-34"


RAW = re.compile(r"\s*\[\{ ?'\w+': ")  # how a list of dictionaries prints


def printed_by(page: str) -> list[str]:
    """What the cells of a built page print or show as text, a block each."""
    from bs4 import BeautifulSoup

    return [block.get_text() for block in BeautifulSoup(page, "html.parser").select(".output pre")]


@pytest.mark.parametrize("chapter", chapters(), ids=lambda path: path.stem)
def test_no_chapter_shows_a_history_as_it_lies_in_memory(html, chapter):
    page = (html / "chapters" / f"{chapter.stem}.html").read_text(encoding="utf-8")
    outputs = printed_by(page)
    assert [text[:60] for text in outputs if RAW.match(text)] == []
    assert outputs, "no output found: the page is built otherwise than this test believes"


def test_a_raw_history_is_found():
    page = '<div class="cell_output"><div class="output stream"><pre>{}</pre></div></div>'
    for text, raw in (
        ("[{'step': 10, 'loss': 2.1}, {'step': 20}]", True),
        ("\n[{'name': 'Mia'}]", True),
        ("[1, 2]", False),
        ("step 10: loss 2.1", False),
    ):
        (printed,) = printed_by(page.format(text))
        assert bool(RAW.match(printed)) == raw
