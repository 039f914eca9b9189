"""What is written about the course is true of it: the picture of the house, the recipes for adding
to it, the changelog and the citation, the hooks before a commit."""

from __future__ import annotations

import ast
import copy
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from xml.etree import ElementTree

import course
import house
import picture
import pytest
import yaml
from bookbuild import ROOT
from test_chapters import faults

import gptlib

HOUSE = house.table()
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "README.md", "book/architecture.md")
}


# The picture of the house ------------------------------------------------------------------------


def drawn(tables) -> tuple[dict[str, ElementTree.Element], list[tuple[str, str]]]:
    """The boxes of the picture by name, and its arrows, read out of the drawing."""
    elements = list(ElementTree.fromstring(picture.svg(tables)).iter())
    boxes = {e.get("data-box"): e for e in elements if e.get("data-box")}
    assert len(boxes) == len([e for e in elements if e.get("data-box")])
    return boxes, [(e.get("data-from"), e.get("data-to")) for e in elements if e.get("data-from")]


def box_of(tables, module: str) -> str:
    """The box that a module stands in."""
    for number, names in tables["chapters"].items():
        if module in names:
            return f"chapter {number}"
    return module.partition(".")[0]


def reached(tables, source: str, arrows) -> set[str]:
    """The boxes that one may import from, by what the drawn arrows stand for."""
    chapters = sorted(int(n) for n in tables["chapters"])
    ends = {end for start, end in arrows if start == source}
    if source.startswith("chapter "):
        ends |= {end for start, end in arrows if start == "chapters"}
        before = [n for n in chapters if n < int(source.split()[1])]
        # The arrow to the chapter before it stands for all that come before.
        ends |= {f"chapter {n}" for n in before if f"chapter {before[-1]}" in ends}
    return ends | ({f"chapter {n}" for n in chapters} if "chapters" in ends else set())


def furnished():
    """The table with a module in every room, so that each permission can be asked for."""
    tables = copy.deepcopy(HOUSE)
    for settings in tables["rooms"].values():
        settings["modules"] = settings["modules"] or ["something"]
    return tables


def test_the_picture_has_a_box_for_each_room_and_each_chapter():
    boxes, _ = drawn(HOUSE)
    chapters = {f"chapter {n}" for n in HOUSE["chapters"]}
    assert set(boxes) == {"notebooks", "chapters", *HOUSE["rooms"], *chapters}
    for number, modules in HOUSE["chapters"].items():
        words = " ".join(boxes[f"chapter {number}"].itertext())
        assert set(re.findall(r"\w+", words)) == {number, *modules}
    for room, settings in HOUSE["rooms"].items():
        words = " ".join(boxes[room].itertext())
        kind = next(e.get("class") for e in boxes[room].iter() if e.get("class"))
        assert settings["what"] in words
        assert ("nothing yet" in words) == ("empty" in kind) == (not settings["modules"])


def test_the_arrows_say_what_the_rules_say_and_nothing_else():
    tables = furnished()
    _, arrows = drawn(tables)
    assert len(arrows) == len(set(arrows))
    modules = house.all_modules(tables)
    for module in modules:
        here = box_of(tables, module)
        if module == here:  # the door of a room
            continue
        allowed = {box_of(tables, name) for name in house.allowed(tables, module)}
        assert allowed - {here} == reached(tables, here, arrows) - {"chapters", here}, module
    opened = {box_of(tables, n) for n in house.opened(tables, tables["notebooks"]["imports"])}
    assert reached(tables, "notebooks", arrows) - {"chapters"} == opened | {
        f"chapter {n}" for n in tables["chapters"]
    }


def heights(element: ElementTree.Element) -> tuple[float, float]:
    """Where the first rectangle in an element begins and ends."""
    rect = next(e for e in element.iter() if e.tag.endswith("rect"))
    return float(rect.get("y")), float(rect.get("y")) + float(rect.get("height"))


@pytest.mark.parametrize("tables", [HOUSE, furnished()], ids=["as it is", "furnished"])
def test_every_arrow_points_down_and_the_boxes_do_not_overlap(tables):
    boxes, arrows = drawn(tables)
    for source, target in arrows:
        assert heights(boxes[source])[0] < heights(boxes[target])[0], (source, target)
    outer = [heights(box) for key, box in boxes.items() if not key.startswith("chapter ")]
    assert all(end < start for (_, end), (start, _) in pairwise(outer))
    top, bottom = heights(boxes["chapters"])
    inner = [heights(box) for key, box in boxes.items() if key.startswith("chapter ")]
    assert all(top < start < end < bottom for start, end in inner)
    assert all(end < start for (_, end), (start, _) in pairwise(inner))


@pytest.mark.parametrize(
    ("change", "boxes", "arrows"),
    [
        (lambda t: t["rooms"].pop("appendix"), {"appendix"}, None),
        (lambda t: t["chapters"].update({"13": ["later"]}), {"chapter 13"},
         {("chapter 13", "chapter 12")}),
        (lambda t: t["rooms"]["appendix"]["imports"].append("corpus"), set(),
         {("appendix", "corpus")}),
        (lambda t: t["rooms"]["corpus"]["imports"].remove("loss"), set(),
         {("corpus", "chapter 2")}),
        (lambda t: t["root"]["imports"].clear(), set(), {("chapters", "given")}),
        (lambda t: t["notebooks"]["imports"].remove("corpus"), set(), {("notebooks", "corpus")}),
    ],
    ids=["a room less", "a chapter more", "a permission more", "one less", "the root", "notebooks"],
)  # fmt: skip
def test_another_table_is_another_picture(change, boxes, arrows):
    tables = copy.deepcopy(HOUSE)
    change(tables)
    if arrows is None:  # with the room go all who may import it
        for settings in (tables["notebooks"], *tables["rooms"].values()):
            settings["imports"] = [name for name in settings["imports"] if name not in boxes]
        arrows = {("appendix", "given"), ("appendix", "chapters")}
        arrows |= {("cli", "appendix"), ("notebooks", "appendix")}
    before, after = drawn(HOUSE), drawn(tables)
    assert set(before[0]) ^ set(after[0]) == boxes
    assert set(before[1]) ^ set(after[1]) == arrows


def test_two_rooms_that_import_each_other_cannot_be_drawn():
    tables = copy.deepcopy(HOUSE)
    tables["rooms"]["given"]["imports"].append("corpus")
    with pytest.raises(ValueError, match="cycle"):
        picture.svg(tables)


def test_the_picture_can_be_heard_and_fits_a_telephone():
    root = ElementTree.fromstring(picture.svg(furnished()))
    named = {e.get("id"): e.text for e in root.iter() if e.get("id")}
    title, words = (named[key] for key in root.get("aria-labelledby").split())
    assert root.get("role") == "img" and title == "Who may import whom in gptlib"
    for source, target in drawn(furnished())[1]:
        assert re.search(rf"{source} may import [^.]*\b{target}\b", words), (source, target)
    assert float(root.get("viewBox").split()[2]) <= 360
    lines = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert max(map(len, lines)) <= 36  # what a box is wide enough for


def test_the_page_shows_the_drawing_of_the_table(html):
    page = (html / "book" / "architecture.html").read_text(encoding="utf-8")
    assert picture.svg(HOUSE) in page


# The page about the package ----------------------------------------------------------------------


def test_the_page_lists_the_modules_of_the_root_in_order():
    section = PAGES["book/architecture.md"].partition("## The root is the course")[2]
    listed = re.findall(r"`(\w+)`", section.partition("Each of these modules")[0])
    assert listed == house.room_modules(HOUSE, "chapters")


def test_the_code_on_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGES["book/architecture.md"], flags=re.S)
    names: dict = {}
    exec(next(block for block in blocks if "class Coin" in block), names)
    assert names["text"].shape == (1, 21)
    protocol = importlib.import_module("gptlib.given.models").LanguageModel
    assert isinstance(names["Coin"](3), protocol)


# The recipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_a_page_names_is_there(name):
    text = re.sub(r"```.*?```", "", PAGES[name], flags=re.S)
    paths = re.findall(r"`((?:\w[\w.-]*/)+[\w.-]*|\w[\w-]*\.(?:md|toml|cff|txt|py|yml))`", text)
    # made by the commands
    absent = {"_build/html", "_build/gptlib-book.zip", "_build/gptlib-book.pdf"}
    absent |= {f"gptlib/{room}" for room in HOUSE["rooms"]}  # planned
    folders = [ROOT, *(ROOT / f for f in ("book", "book/tools", "tests", "gptlib", "experiments"))]
    missing = [
        path
        for path in paths
        if path not in absent and not any((folder / path).exists() for folder in folders)
    ]
    assert paths and not missing


def tree(text: str) -> set[str]:
    """The paths of the tree that a page draws: a name a line, indented below its folder."""
    (block,) = re.findall(r"```\n(README\.md .*?)```", text, flags=re.S)
    paths, folder = set(), ""
    for line in block.splitlines():
        indented, name = line.startswith("  "), line.split()[0]
        paths.add((folder + name if indented else name).rstrip("/"))
        folder = folder if indented else name
    return paths


def missing_in_tree(drawn: set[str], files: list[str]) -> set[str]:
    """What stands at the root, and which rooms of the package, without a line in the tree."""
    shown = {name.partition("/")[0] for name in drawn}
    roots = {name.partition("/")[0] for name in files} - {".gitignore", ".gitattributes"}
    rooms = {"/".join(name.split("/")[:2]) for name in files if name.startswith("gptlib/")}
    return (roots - shown) | {room for room in rooms if "." not in room} - drawn


def test_the_tree_of_the_readme_is_the_tree():
    drawn = tree(PAGES["README.md"])
    assert {name for name in drawn if not (ROOT / name).exists()} == set()
    files = course.git(ROOT, "ls-files")
    if files is None:  # an archive without git: a reader may have anything here
        files = "\n".join(f"gptlib/{room}/x" for room in HOUSE["rooms"])
        files = "\n".join(line for line in files.splitlines() if (ROOT / line).parent.exists())
    assert missing_in_tree(drawn, files.splitlines()) == set()
    for own in ("instructor/", "gptlib/cli/"):
        assert missing_in_tree(drawn - {own.rstrip("/")}, [f"{own}x.py"]) == {own.rstrip("/")}


def test_every_command_that_a_page_names_is_one():
    answer = subprocess.run(
        [sys.executable, ROOT / "book" / "tasks.py", "--help"], capture_output=True, text=True
    )
    verbs = set(re.findall(r"^    (\w+)", answer.stdout, flags=re.M))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {v for text in PAGES.values() for v in re.findall(r"(?:`|^)make (\w+)", text, re.M)}
    assert named >= {"test", "lint", "notebooks"}
    assert named <= verbs and named <= set(re.findall(r"^(\w+):", makefile, re.M))


def test_what_the_recipes_call_is_there():
    text = PAGES["CONTRIBUTING.md"]
    tree = ast.parse((ROOT / "experiments" / "recording.py").read_text(encoding="utf-8"))
    shared = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    sentence = re.search(r"has the parts that the scripts\s+share:(.*?)\n2\.", text, flags=re.S)[1]
    assert set(re.findall(r"`(\w+)`", sentence)) <= shared
    for module, name in re.findall(r"`given\.(\w+)\.(\w+)`", text):
        assert hasattr(importlib.import_module(f"gptlib.given.{module}"), name)
    bibliography = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    for key in re.findall(r"references\.md#(\w+)\)`", text):
        assert key == "key" or f"{{{key}," in bibliography


def test_every_test_file_of_the_table_is_there():
    table = PAGES["CONTRIBUTING.md"].partition("## The tests")[2].partition("## Style")[0]
    names = re.findall(r"^\| `(test_\w+\.py)`", table, flags=re.M)
    assert len(names) >= 10 and all((ROOT / "tests" / name).is_file() for name in names)


def test_every_recorded_run_has_its_row():
    table = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "data" / "runs").glob("*.json"):
        assert f"| `{path.stem}.py` |" in table


def test_the_terms_of_the_glossary_are_bold():
    """JupyterLab knows no glossary: it shows an entry as a paragraph that begins with its names."""
    page = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^:::\{glossary\}\n(.*?)^:::$", page, flags=re.M | re.S)
    names = [line for line in block.splitlines() if line and not line.startswith(" ")]
    assert len(names) > 80
    assert [name for name in names if not re.fullmatch(r"\*\*[^*]+\*\*", name)] == []


def test_the_terms_of_the_glossary_stand_in_order():
    from coursebook import glossary_entries

    entries = glossary_entries((ROOT / "book" / "glossary.md").read_text(encoding="utf-8"))
    first = [names[0].lower() for names, _ in entries]
    assert first == sorted(first)


@pytest.mark.parametrize("name", PAGES)
def test_these_pages_do_not_tell_how_hard_it_should_feel(name):
    assert faults(PAGES[name]) == []


# Changelog, citation, hooks ----------------------------------------------------------------------


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.findall(r"^## \[(\d[\d.]*)\]", PAGES["CHANGELOG.md"], flags=re.M)[0]
    assert {project["version"], gptlib.__version__, str(citation["version"])} == {newest}
    assert citation["license"] == project["license"]
    assert [a["name"] for a in citation["authors"]] == [a["name"] for a in project["authors"]]


def test_what_moved_is_gone_from_its_old_place_and_there_in_its_new_one():
    moved = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", PAGES["CHANGELOG.md"], flags=re.M)
    modules = {f"gptlib.{name}" for name in house.modules_in()}
    assert len(moved) >= 13
    for old, new in moved:
        if new in modules:
            assert old not in modules
        else:
            module, _, name = new.rpartition(".")
            assert getattr(importlib.import_module(module), name).__module__ == module


def test_a_clone_has_the_same_bytes_on_every_system(tmp_path):
    """Git for Windows turns line ends round, unless it is told not to."""
    chapter = next(ROOT.glob("chapters/*.ipynb")).read_bytes()
    assert b"\r" not in chapter

    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", *identity, "-c", "core.autocrlf=true", *words]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    for told in (False, True):
        if told:
            shutil.copy(ROOT / ".gitattributes", tmp_path)
        (tmp_path / "01.ipynb").write_bytes(chapter)
        git("add", ".")
        git("commit", "-qm", "a")
        (tmp_path / "01.ipynb").unlink()
        git("checkout", "-f", "HEAD", "--", ".")
        assert ((tmp_path / "01.ipynb").read_bytes() == chapter) == told  # the danger is real


def test_the_hooks_call_what_is_there():
    settings = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    hooks = [hook for repo in settings["repos"] for hook in repo["hooks"]]
    assert {repo["repo"] for repo in settings["repos"]} == {"local"} and len(hooks) >= 2
    for hook in hooks:
        python, script, verb, *_ = hook["entry"].split()
        assert python == "python" and (ROOT / script).is_file() and hook["language"] == "system"
        assert re.search(rf"^{verb}:", makefile, flags=re.M)
        if "files" in hook:
            assert any(
                re.search(hook["files"], f"chapters/{p.name}") for p in ROOT.glob("chapters/*")
            )


def test_the_form_that_the_hook_writes_is_the_one_that_is_stored(tmp_path):
    from chapterfiles import chapters
    from course import course
    from notebooks import refresh

    for chapter in chapters(course()):
        there = tmp_path / chapter.name
        there.write_bytes(chapter.read_bytes())
        refresh(there, run=False)
        assert there.read_bytes() == chapter.read_bytes()
