"""The package as a whole: who imports whom, and what it asks to be installed."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import house
import pytest
from course import files_of_the_reader

ROOT = Path(__file__).resolve().parent.parent
HOUSE = house.table()
FILES = house.modules_in()
NO_TORCH = [
    f"{room}.{name}"
    for room, settings in HOUSE["rooms"].items()
    for name in settings.get("no_torch", [])
]


def test_the_house_is_as_the_table_says():
    assert house.broken_rules() == []


@pytest.fixture
def another_house(tmp_path):
    """A copy of the package and its table, to be broken."""
    shutil.copytree(ROOT / "gptlib", tmp_path / "gptlib")
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "book" / "house.toml", tmp_path / "book")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


BROKEN = {
    "a new room": ("widgets/heat.py", "import pandas", "widgets.heat stands in no room"),
    "a new file": ("given/extra.py", "x = 1", "given.extra stands in no room"),
    "a later chapter": ("batches.py", "from gptlib.gpt import GPT", "batches may not import gpt"),
    "its own chapter, backwards": (
        "loss.py",
        "from gptlib.bigram import fit",
        "loss may not import bigram",
    ),
    "given from a chapter": (
        "given/files.py",
        "import gptlib.tokenizer",
        "given.files may not import tokenizer",
    ),
    "a relative import": (
        "given/files.py",
        "from ..training import train",
        "given.files may not import training",
    ),
    "a relative import of a neighbour": (
        "given/files.py",
        "from . import plots",
        "given.files may not import given.plots",
    ),
    "hidden in a function": (
        "corpus/story.py",
        "def f():\n    from gptlib import gpt",
        "corpus.story may not import gpt",
    ),
    "a chapter from the corpus": (
        "tokenizer.py",
        "from gptlib import corpus",
        "tokenizer may not import corpus",
    ),
    "the package itself": ("__init__.py", "from . import gpt", "the package itself may import"),
}


@pytest.mark.parametrize(("file", "code", "fault"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_the_house_is_seen(another_house, file, code, fault):
    path = another_house / "gptlib" / file
    path.parent.mkdir(exist_ok=True)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(f"{before}\n{code}\n", encoding="utf-8")
    faults = house.broken_rules(another_house)
    assert len(faults) == 1 and fault in faults[0], faults


def test_a_module_that_is_missing_is_seen(another_house):
    (another_house / "gptlib" / "given" / "plots.py").unlink()
    assert "given.plots is in book/house.toml and has no file" in house.broken_rules(another_house)


def test_a_notebook_imports_what_was_built_before_it_and_what_is_given():
    third = house.allowed_in_chapter(HOUSE, 3)
    assert {"bigram", "loss", "given.plots", "corpus.scoring"} <= third
    assert not {"attention", "layers", "gpt"} & third


def test_nobody_imports_the_command_line():
    grown = {**HOUSE, "rooms": {**HOUSE["rooms"], "cli": {**HOUSE["rooms"]["cli"]}}}
    grown["rooms"]["cli"]["modules"] = ["main"]
    others = [name for name in house.all_modules(grown) if name.partition(".")[0] != "cli"]
    assert not any("cli.main" in house.allowed(grown, name) for name in others)
    assert {"gpt", "training", "corpus.loader"} <= house.allowed(grown, "cli.main")


def loads_torch(module: str) -> bool:
    """Whether torch is loaded by importing a module of gptlib."""
    code = f"import sys, gptlib.{module}; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip() == "True"


@pytest.mark.parametrize("module", NO_TORCH)
def test_what_needs_no_torch_does_not_load_it(module):
    assert not loads_torch(module)


def test_a_module_that_loads_torch_is_seen():
    assert loads_torch("batches")


def loaded_with_the_package(root: Path = ROOT) -> set[str]:
    """The modules that are there after `import gptlib` and were not before."""
    code = "import sys; before = set(sys.modules); import gptlib; print(set(sys.modules) - before)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert answer.returncode == 0, answer.stderr
    return ast.literal_eval(answer.stdout)


def test_importing_the_package_loads_nothing_else(another_house):
    assert loaded_with_the_package() == {"gptlib"}
    first = another_house / "gptlib" / "__init__.py"
    first.write_text(f"{first.read_text('utf-8')}\nimport wave\n", encoding="utf-8")
    assert "wave" in loaded_with_the_package(another_house)


def imported_from_elsewhere(root: Path = ROOT) -> set[str]:
    """The packages that gptlib imports, in small letters, beside what a room's extra brings."""
    imported = set()
    for name, path in house.modules_in(root).items():
        extra = set(HOUSE["rooms"].get(name.partition(".")[0], {}).get("packages", []))
        imported |= house.third_party(path.read_text(encoding="utf-8")) - extra
    # cycler is a part of matplotlib's own interface
    return {name.lower() for name in imported} - {"cycler"}


def test_it_asks_for_what_it_imports_and_nothing_else(another_house):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {re.match(r"[\w-]+", line)[0].lower() for line in project["dependencies"]}
    assert imported_from_elsewhere() == asked
    for file, code in (("gpt.py", "import pandas"), ("widgets/tape.py", "from pandas.x import y")):
        path = another_house / "gptlib" / file
        path.write_text(f"{path.read_text('utf-8')}\ndef f():\n    {code}\n", "utf-8")
        assert imported_from_elsewhere(another_house) == asked | {"pandas"}


def not_packed(root: Path = ROOT) -> set[str]:
    """The folders that are named and not there, or there and not named; files of no packed kind."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    named = set(settings["tool"]["setuptools"]["packages"]) - {"gptlib.runs", "gptlib.measured"}
    parts = {path.relative_to(root).parent.parts for path in house.modules_in(root).values()}
    kinds = {"*.py", "*.pyc", *settings["tool"]["setuptools"]["package-data"]["*"]}
    files = [path for path in (root / "gptlib").rglob("*") if path.is_file()]
    strange = {path.name for path in files if not any(map(path.match, kinds))}
    return (named ^ {".".join(folder) for folder in parts}) | strange


def test_every_folder_of_the_package_is_packed(another_house):
    """setuptools packs what is named, and a room that is not named is missing from the wheel."""
    assert not_packed() == not_packed(another_house) == set()
    inside = another_house / "gptlib"
    (inside / "widgets" / "heat").mkdir()
    (inside / "widgets" / "heat" / "__init__.py").touch()
    (inside / "given" / "heat.yaml").touch()
    shutil.rmtree(inside / "appendix")
    assert not_packed(another_house) == {"gptlib.widgets.heat", "heat.yaml", "gptlib.appendix"}


def faults_of_pins(text: str, project: dict) -> list[str]:
    """What is wrong in requirements.txt, given what pyproject.toml asks for."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    exact = r"[\w.-]+==[\w.]+(\s*;.*|\s+#.*)?$"
    names = [re.match(r"[\w.-]*", line)[0].lower() for line in lines]
    trackers = {"tensorboard", "mlflow", "trackio"}  # pinned in book/trackers.lock
    named = [v for k, v in project["optional-dependencies"].items() if k not in trackers]
    extras = sum(named, project["dependencies"])
    asked = {re.match(r"[\w-]+", line)[0].lower() for line in extras}
    return [
        *(f"not exact: {line}" for line in lines if not re.match(exact, line)),
        *(f"twice: {name}" for name in sorted(set(names)) if names.count(name) > 1),
        *(f"of one maker's cards: {name}" for name in names if name.startswith("nvidia")),
        *(f"a host: {line}" for line in text.splitlines() if "://" in line),
        *(f"not pinned: {name}" for name in sorted(asked - set(names))),
    ]


def test_everything_pinned_is_pinned_exactly_and_names_no_host():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert faults_of_pins(text, project) == []
    torch = re.search(r"^torch==.*$", text, re.MULTILINE)[0]
    for change, fault in (
        ((torch, torch.replace("==", ">=")), f"not exact: {torch.replace('==', '>=')}"),
        ((torch, f"{torch}\nTorch==1.0"), "twice: torch"),
        ((torch, f"{torch}\nnvidia-cublas==1.0"), "of one maker's cards: nvidia-cublas"),
        ((torch, f"# https://example.org\n{torch}"), "a host: # https://example.org"),
        ((torch, ""), "not pinned: torch"),
    ):
        assert faults_of_pins(text.replace(*change), project) == [fault]


@pytest.mark.skipif(sys.platform == "win32", reason="the tool forks")
def test_the_mutation_tool_reaches_every_module(monkeypatch):
    """One that no test is named for would be passed over without a word."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "mutation")
    mutants = importlib.import_module("mutants")
    reached = {name.replace("/", ".") for name in mutants.modules()}
    rooms = {name for name in FILES if FILES[name].name == "__init__.py"}

    def left(names: set[str]) -> set[str]:  # the answers to exercises are what answers.py changes
        return {name for name in names - reached - rooms if not name.startswith("exercises.")}

    assert left(set(FILES)) == set() and left({*FILES, "widgets.heat"}) == {"widgets.heat"}
    for name in {name for names in mutants.TESTS.values() for name in names}:
        assert (ROOT / "tests" / f"test_{name}.py").is_file(), name


def measured_in(text: str) -> tuple[list[str], list[str]]:
    """The modules with a row of figures in tests/mutation/README.md, and those without a share."""
    before, list_of_others = text.split("## Without a share")
    rows = re.findall(r"^\| `([\w/]+)` \| \d", before, re.MULTILINE)
    listed = re.findall(r"^\| (`.*?) \| \S", list_of_others.split("\n## ")[0], re.MULTILINE)
    return rows, [name for cell in listed for name in re.findall(r"`([\w/]+)`", cell)]


def without_a_share(text: str, sources: dict[str, str]) -> dict[str, set[str]]:
    """What is wrong in that file, given the package's modules: name such as cli/main -> source."""
    rows, listed = measured_in(text)
    # Exercises, their bugs and their answers are what answers.py changes.
    asks = re.compile(r"\b(Task|Question)\(|^(TASKS|QUESTIONS)\b", re.MULTILINE)
    machinery = {
        name
        for name, source in sources.items()
        if not (name.startswith("exercises/") and asks.search(source))
    }
    return {
        "no row and no reason": machinery - {*rows, *listed},
        "gone": {*rows, *listed} - sources.keys(),
        "a row and a reason": {*rows} & {*listed},
        "two reasons": {name for name in listed if listed.count(name) > 1},
    }


MEASURED = (ROOT / "tests" / "mutation" / "README.md").read_text(encoding="utf-8")
SOURCES = {
    name.replace(".", "/"): path.read_text(encoding="utf-8")
    for name, path in FILES.items()
    if path.name != "__init__.py"
}


def test_every_module_has_its_share_of_noticed_changes_or_a_reason():
    assert {
        what: names for what, names in without_a_share(MEASURED, SOURCES).items() if names
    } == {}


@pytest.mark.parametrize(
    ("was", "stands", "found"),
    [
        ("| `cli/main` | 12", "| `cli/first` | 12", ["cli/first", "cli/main"]),
        ("| `cli/main` | 12", "| `cli/main` | ", ["cli/main"]),  # a row without figures
        ("| `exercises/task` | 10", "| `exercises` | 10", ["exercises", "exercises/task"]),
        ("| `corpus/tales` |", "| `corpus/tales` `cli/main` |", ["cli/main"]),
        ("| `corpus/tales` |", "| `corpus/fables` |", ["corpus/fables", "corpus/tales"]),
        ("| `given/unicode16` |", "| `corpus/tales` |", ["corpus/tales", "given/unicode16"]),
    ],
)
def test_a_missing_row_one_too_many_and_a_row_for_what_is_gone_are_seen(was, stands, found):
    assert MEASURED.count(was) == 1
    wrong = without_a_share(MEASURED.replace(was, stands), SOURCES)
    assert sorted(name for names in wrong.values() for name in names) == found


def test_a_new_module_asks_for_a_row_and_an_exercise_for_none():
    new = {"widgets/heat": "x = 1", "exercises/more": "x = 1", "exercises/own": "TASKS = ()\n"}
    wrong = without_a_share(MEASURED, SOURCES | new)
    assert wrong["no row and no reason"] == {"widgets/heat", "exercises/more"}


def test_a_change_that_is_excused_still_has_its_line():
    """An entry of equivalent.toml whose line is gone excuses nothing, or something else."""
    text = (ROOT / "tests" / "mutation" / "equivalent.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)["equivalent"]
    for entry in entries:
        source = (ROOT / "gptlib" / f"{entry['module']}.py").read_text(encoding="utf-8")
        assert entry["on"] in source and entry["why"], entry
    assert len(entries) >= 6


@pytest.mark.skipif(sys.platform == "win32", reason="the tool forks")
def test_an_excused_change_of_an_answer_is_still_one_that_is_made(monkeypatch):
    """The line stands in the answer, and the tool still changes it so; each is excused once."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "mutation")
    answers = importlib.import_module("answers")
    entries = tomllib.loads(answers.EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    made = {}
    for name in {entry["task"] for entry in entries}:
        source = answers.work.source_of(answers.TASKS[name].reference)
        made[name] = {(on, change) for on, change, _ in answers.changed(source)}
    for entry in entries:
        assert (entry["on"], entry["change"]) in made[entry["task"]] and entry["why"], entry
        made[entry["task"]].remove((entry["on"], entry["change"]))
    assert len(entries) >= 73


def types(folder: Path, *words: str) -> tuple[int, str]:
    """mypy's status and what it says, by the settings of pyproject.toml."""
    command = [sys.executable, "-m", "mypy", f"--cache-dir={folder}", *words]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return answer.returncode, answer.stdout + answer.stderr


def test_the_types_fit_and_a_wrong_one_is_seen(tmp_path):
    status, said = types(tmp_path / "cache")
    assert status == 0, said
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from gptlib.gpt import GPTConfig\nGPTConfig(n_layer='four')\n")
    status, said = types(tmp_path / "cache", str(wrong))
    assert status == 1 and 'incompatible type "str"; expected "int"' in said, said


def test_the_style_is_clean():
    left_out = [f"--extend-exclude={name}" for name in files_of_the_reader()]
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", *left_out, "."]
        answer = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        ruff = [*ruff[:-1], "--stdin-filename=gptlib/heat.py", "-"]  # and a file that is not
        answer = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True, input="import  os")
        assert answer.returncode == 1, answer.stdout + answer.stderr


# What the course does in one place only: how it is known in code, and where it may stand.
ONCE = {
    "the mark of the end": (
        lambda n: isinstance(n, ast.Constant) and n.value == "<|endoftext|>",
        {"tokenizer"},
    ),
    "the target that is not scored": (
        lambda n: (
            isinstance(n, ast.keyword)
            and n.arg == "ignore_index"
            and ast.unparse(n.value) != "IGNORED_TARGET"
        ),
        set(),
    ),
    "a file that takes another's name": (
        lambda n: (
            isinstance(n, ast.Call)
            and (ast.unparse(n.func) == "os.replace" or getattr(n.func, "attr", "") == "rename")
        ),
        # And what runs before anything is installed, or swaps folders of pages.
        {"given.files", "given.folders", "given.parts", "book/tools/running.py"}
        | {"book/tools/bookbuild.py"},
    ),
    "the mode of a part of a model": (
        lambda n: (
            isinstance(n, ast.Assign)
            and re.fullmatch(r"(?!self\b).*\.training", ast.unparse(n.targets[0]))
        ),
        {"given.models", "training"},
    ),
}


def places(is_it, code: dict[str, str]) -> set[str]:
    """The modules in whose code something stands."""
    return {name for name, text in code.items() if any(map(is_it, ast.walk(ast.parse(text))))}


@pytest.mark.parametrize("idea", ONCE)
def test_an_idea_has_one_place(idea):
    """A second copy drifts away from the first; the answers to exercises are written out."""
    is_it, known = ONCE[idea]
    rooms = ("experiments", "instructor", "benchmarks", "book", "book/tools")
    scripts = [path for room in rooms for path in ROOT.glob(f"{room}/*.py")]
    paths = FILES | {path.relative_to(ROOT).as_posix(): path for path in scripts}
    code = {n: p.read_text("utf-8") for n, p in paths.items() if not n.startswith("exercises.")}
    assert places(is_it, code) == known
    for copy in (
        "x = '<|endoftext|>'",
        "f(logits, targets, ignore_index=-1)",
        "os.replace(a, b); path.rename(c)",
        "model.training = False",
    ):
        found = [name for name, (seen, _) in ONCE.items() if places(seen, {"x": copy})]
        assert len(found) == 1


def unnamed_encodings(code: str) -> list[str]:
    """Calls that read or write text in whatever encoding the machine prefers."""
    found = []
    for call in (n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        words = [a.value for a in call.args if isinstance(a, ast.Constant)]
        words += [k.value.value for k in call.keywords if k.arg == "mode"]
        if name == "open":
            modes = [word for word in words if re.fullmatch(r"[rwaxbt+]+", str(word))]
            is_text = not any("b" in mode for mode in modes)
            # os.open, and the opening of what is no file, take no such words.
            is_text &= not isinstance(call.func, ast.Attribute) or bool(modes)
        else:
            is_text = name in ("read_text", "write_text") and isinstance(call.func, ast.Attribute)
            is_text &= not (name == "read_text" and words)
        if is_text and not any(keyword.arg == "encoding" for keyword in call.keywords):
            found.append(ast.unparse(call))
    return found


def test_no_text_is_read_in_the_machine_s_own_encoding():
    """Nor written: what is here is run by itself, too, without the commands that say UTF-8."""
    folders = ("gptlib", "book", "experiments", "benchmarks", "instructor")
    paths = [p for folder in folders for p in (ROOT / folder).rglob("*.py")]
    paths = [path for path in paths if "node_modules" not in path.parts]
    found = {path: unnamed_encodings(path.read_text(encoding="utf-8")) for path in paths}
    assert {path: calls for path, calls in found.items() if calls} == {} and len(paths) > 100


def test_a_text_without_an_encoding_is_found():
    for call in ("p.read_text()", "p.write_text('x')", "open(p)", "open(p, 'w')", "p.open('a')"):
        assert unnamed_encodings(call) == [call]
        assert unnamed_encodings(f"{call[:-1]}, encoding='utf-8')".replace("(,", "(")) == []
    for call in ("open(p, 'rb')", "p.open('xb')", "open(p, mode='wb')", "os.open(p, os.O_RDWR)"):
        assert unnamed_encodings(f"{call}; write_text(p, 'x'); p.read_text('utf-8')") == []
