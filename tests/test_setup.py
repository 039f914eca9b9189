"""Setting up: which Python, what is installed, and folders that are moved, copied or not ours."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import colab
import environment
import locking
import packages
import pytest
import pythons
import running
import tasks
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from running import ROOT

TASKS = ROOT / "book" / "tasks.py"
REQUIREMENTS = packages.REQUIREMENTS.read_text(encoding="utf-8")
LOCK = packages.LOCK.read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = {
    name: Requirement(entry.split("#")[0]) for name, entry in packages.pins(REQUIREMENTS).items()
}
LOCKED = {name: Requirement(entry.split("\\")[0]) for name, entry in packages.pins(LOCK).items()}
# Every release of Python that may be there: the last numbers of a minor version stay below 30.
RELEASES = [
    (3, minor, micro)
    for minor in range(8, 17)
    for micro in range(30)
    if f"3.{minor}.{micro}" in SpecifierSet(PROJECT["requires-python"])
]


# Scripts of a shell, and links that need no rights. What Windows does instead has its own test.
posix_only = pytest.mark.skipif(os.name != "posix", reason="there are no such scripts here")


def dotted(version) -> str:
    return ".".join(map(str, version))


# Which Python ------------------------------------------------------------------------------------


def test_the_supported_pythons_are_the_same_everywhere():
    assert all(pythons.is_supported(version) for version in RELEASES)
    refused = {(3, minor, micro) for minor in range(8, 17) for micro in range(30)} - set(RELEASES)
    assert not any(pythons.is_supported(version) for version in refused)
    (low, high), first = pythons.SUPPORTED, {release[:2] for release in RELEASES}
    assert {min(first), max(first)} == {low, high} == {(3, 11), (3, 14)}
    assert tuple(f"{a}.{b}.0" for a, b in sorted(first)) == locking.PYTHONS
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"{low} <= sys.version_info[:2] <= {high}" in ci


def test_every_pin_allows_every_supported_python():
    """What a package says of Python in its metadata, against every release there may be.

    Pins of another system are not installed here; the lock says that they resolve.
    """
    checked = set()
    for name, pin in PINS.items():
        if pin.marker and not pin.marker.evaluate({"python_version": "3.11"}):
            continue
        here = {"python_version": f"{sys.version_info[0]}.{sys.version_info[1]}"}
        if (pin.marker and not pin.marker.evaluate(here)) or name in packages.left_out():
            continue
        found = importlib.metadata.distribution(name)
        assert found.version.split("+")[0] == next(iter(pin.specifier)).version, name
        asks = SpecifierSet(found.metadata.get("Requires-Python") or "")
        for release in RELEASES:
            about = {"python_version": dotted(release[:2]), "python_full_version": dotted(release)}
            if not pin.marker or pin.marker.evaluate(about):
                assert dotted(release) in asks, f"{name} asks for Python {asks}"
        checked.add(name)
    assert len(checked) > 180


@posix_only
@pytest.mark.parametrize("name", ["python3.13", "python3"])
def test_a_broken_shim_is_not_advised(tmp_path, monkeypatch, name):
    """A version manager's stand-in has the right name and only prints an error."""
    shim, good = tmp_path / "shims" / name, tmp_path / "good" / "python3.12"
    for folder in (shim.parent, good.parent):
        folder.mkdir()
    shim.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.delenv("GPTLIB_PYTHONS", raising=False)
    monkeypatch.setattr(pythons, "PLACES", ())
    monkeypatch.setenv("PATH", str(shim.parent))
    assert pythons.found() == []
    with pytest.raises(SystemExit, match=r"3\.10\.13\.\nNone was found on this computer"):
        pythons.check((3, 10, 13))
    good.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", os.pathsep.join([str(shim.parent), str(good.parent)]))
    (here,) = pythons.found()
    assert here.version == sys.version_info[:3] and here.has_venv
    with pytest.raises(SystemExit, match=f"make book PYTHON={re.escape(here.program)}\n"):
        pythons.check((3, 10, 13))


def test_named_pythons_replace_the_search(monkeypatch, tmp_path):
    monkeypatch.setenv("GPTLIB_PYTHONS", "")
    assert pythons.found() == []
    monkeypatch.setenv("GPTLIB_PYTHONS", os.pathsep.join([str(tmp_path / "none"), sys.executable]))
    assert [python.version for python in pythons.found()] == [sys.version_info[:3]]


OLD = """\
import runpy, sys
sys.version_info = (3, 6, 15, "final", 0)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_an_old_python_says_so():
    """It must be able to read the files that tell it, and to reach the words."""
    for name in ("book/tasks.py", "book/tools/pythons.py"):
        ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 6))
    command = [sys.executable, "-c", OLD, TASKS, "book", "--port", "nonsense"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 1 and "needs Python 3.11 to 3.14" in answer.stderr
    assert "is Python 3.6.15." in answer.stderr and "Traceback" not in answer.stderr


@pytest.mark.slow
def test_the_old_pythons_of_this_computer_say_so(monkeypatch, record_property):
    """The same by real ones, where there are any."""
    monkeypatch.delenv("GPTLIB_PYTHONS", raising=False)
    monkeypatch.setattr(pythons, "SUPPORTED", ((3, 6), (3, 10)))
    old = [*pythons.found()]
    for python in old:
        answer = subprocess.run([python.program, TASKS, "book"], capture_output=True, text=True)
        assert answer.returncode == 1 and "needs Python 3.11 to 3.14" in answer.stderr
        assert "Traceback" not in answer.stderr
    found = ", ".join(dotted(python.version) for python in old) or "none on this computer"
    record_property("python", f"too old, and told so: {found}")


@pytest.mark.parametrize(
    ("system", "machine", "built_for", "says"),
    [
        ("darwin", "x86_64", "macosx-14.0-x86_64", "Intel"),
        ("win32", "ARM64", "win-arm64", "x86-64 Python"),
        ("darwin", "arm64", "macosx-13.0-arm64", "macOS 14"),
    ],
)
def test_where_torch_has_no_wheel_it_says_what_to_do(monkeypatch, system, machine, built_for, says):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "mac_ver", lambda: ("13.6", ("", "", ""), machine))
    monkeypatch.setattr(sysconfig, "get_platform", lambda: built_for)
    with pytest.raises(SystemExit, match=says):
        pythons.check((3, 12, 0))


def test_here_torch_has_a_wheel():
    assert pythons.no_wheels() is None


# What is installed -------------------------------------------------------------------------------


def test_the_lock_belongs_to_the_pins():
    date = re.search(r"on (\d{4}-\d\d-\d\d);", LOCK)[1]
    assert LOCK.startswith(locking.header(date)), "requirements.txt was changed: run `make lock`"
    for name, pin in PINS.items():
        assert LOCKED[name].specifier == pin.specifier, name
        assert bool(LOCKED[name].marker) == bool(pin.marker), name


def test_what_only_the_lock_names_is_cuda_for_linux():
    """What torch brings along on Linux; nothing else may come in that no one named."""
    strays = set(LOCKED) - set(PINS)
    assert strays and all(name.startswith(("nvidia-", "cuda-", "triton")) for name in strays)
    for name in strays:
        for system in ("darwin", "win32"):
            about = {"sys_platform": system, "platform_system": system}
            assert not LOCKED[name].marker.evaluate(about), name


def test_every_locked_package_has_hashes_and_no_host_is_named():
    for name, entry in packages.pins(LOCK).items():
        first, *hashes = re.split(r" \\\n +", entry)
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", h) for h in hashes), name
        assert re.match(r"[\w.-]+==\S+", first)
    assert "://" not in LOCK


def test_the_lock_names_every_system_that_the_readers_are_told_of():
    """The README and the page on using the book say where there is no torch, and what to do."""
    assert list(locking.NO_TORCH) == ["macOS x86-64", "Windows ARM64"]
    for page in ("README.md", "book/how_to_use.md"):
        text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
        assert "3.11 to 3.14" in text and "Intel" in text and "x86-64 Python" in text, page


@pytest.fixture
def answers(monkeypatch, tmp_path):
    """`make lock` with an index of our own: what it says for each platform and Python."""
    known = locking.PLATFORMS | locking.NEWER
    said = {platform: None for platform in known.values()}
    said |= {platform: "torch has no wheel" for platform in locking.NO_TORCH.values()}
    asked = []

    def resolve(uv, *options, file="requirements.txt"):
        if "--output-file" in options:
            return trackers_of(options, file), said.get("trackers")
        if "--python-platform" in options and "--no-deps" in options:
            assert file.read_text().split() == ["grpcio==2", "pillow==12"]
            tracked.append((options[2], options[4]))
            return "", said.get(("trackers", *tracked[-1]))
        if "--no-deps" in options:
            assert "--generate-hashes" in options and file.read_text() == "ipython==7.34.0\n"
            return "ipython==7.34.0 \\\n    --hash=sha256:11\n", said.get("colab")
        if "--universal" in options:
            strays = "".join(f"{name}==1\n" for name in ("cuda-x", "nvidia-y", "triton"))
            assert "--generate-hashes" in options
            return f"{said.get('pins', 'a==1')} \\\n    --hash=sha256:00\n{strays}", None
        asked.append((options[1], options[3]))
        older = "_2_28" in options[1]
        assert file.read_text() == ("a==1\n" if older else "a==1\nmlx==1\n") + "pillow==13\n"
        return "", said.get(asked[-1], said[options[1]])

    def trackers_of(options, file):
        """As uv: what is in the file already is kept, the constraints hold."""
        extras = PROJECT["optional-dependencies"]
        asked = [line for name in locking.EXTRAS for line in extras[name]]
        assert file.read_text().splitlines() == asked
        assert options[options.index("--constraints") + 1].read_text() == "a==1\nmlx==1\n"
        out = options[options.index("--output-file") + 1]
        assert out.read_text() == "grpcio==2\n"
        hashes = " \\\n    --hash=sha256:22\n"
        found = ("a==1", "grpcio==2", "jsfetch==1 ; sys_platform == 'emscripten'", "pillow==12")
        out.write_text("".join(entry + hashes for entry in found))
        return ""

    tracked = []
    monkeypatch.setattr(locking, "resolve", resolve)
    monkeypatch.setattr(locking, "run", lambda _: None)
    for name in ("REQUIREMENTS", "LOCK"):
        monkeypatch.setattr(packages, name, tmp_path / name.lower())
        monkeypatch.setattr(locking, name, tmp_path / name.lower())
    packages.REQUIREMENTS.write_text("a==1\nmlx==1\npillow==13\n")
    packages.LOCK.write_text("the old lock")
    monkeypatch.setattr(locking, "COLAB", tmp_path / "colab")
    locking.COLAB.write_text("# why\nipython==7.34.0 \\\n    --hash=sha256:00\n")
    monkeypatch.setattr(locking, "TRACKERS", tmp_path / "trackers")
    locking.TRACKERS.write_text("# what\ngrpcio==2 \\\n    --hash=sha256:00\n")
    return said, asked, tracked


def test_a_lock_is_written_when_every_wheel_is_there_for_every_system_and_python(answers):
    _, asked, tracked = answers
    locking.lock()
    systems = [*locking.PLATFORMS.values(), *locking.NEWER.values(), *locking.NO_TORCH.values()]
    assert asked == [(system, python) for system in systems for python in locking.PYTHONS]
    assert {name.split("-", 1)[1] for name in systems} == {
        "manylinux_2_28", "manylinux_2_35", "apple-darwin", "pc-windows-msvc",
    }  # fmt: skip
    text = packages.LOCK.read_text()
    assert text.startswith(locking.header(re.search(r"on (\S+);", text)[1]))
    assert list(packages.pins(text)) == ["a", "cuda-x", "nvidia-y", "triton"]
    colab = locking.COLAB.read_text()
    assert colab == "# why\nipython==7.34.0 \\\n    --hash=sha256:11\n"
    # Of what the trackers bring, what is not pinned already in this very version.
    assert tracked == [(s, p) for s in locking.PLATFORMS.values() for p in locking.PYTHONS]
    assert locking.TRACKERS.read_text() == (
        "# what\ngrpcio==2 \\\n    --hash=sha256:22\npillow==12 \\\n    --hash=sha256:22\n"
    )


@pytest.mark.parametrize(
    ("where", "what", "says"),
    [
        (("aarch64-apple-darwin", "3.14.0"), "no wheel of a", "macOS 14 ARM64, Python 3.14.0: no "),
        (("aarch64-manylinux_2_35", "3.12.0"), "no mlx", r"Linux ARM64, glibc 2.35, .*: no mlx"),
        (("x86_64-pc-windows-msvc", "3.11.0"), "no b", r"Windows x86-64, Python 3\.11\.0: no b"),
        (("x86_64-apple-darwin", "3.12.0"), None, r"macOS x86-64, .* torch has a wheel now"),
        ("colab", "gone", "what Colab has does not resolve:\ngone"),
        ("trackers", "no", "the trackers do not resolve:\nno"),
        (("trackers", "x86_64-pc-windows-msvc", "3.13.0"), "no", "the trackers, Windows .*: no"),
        ("pins", "a==1\nnobody-named-it==2", "not complete; pin these too: nobody-named-it"),
    ],
)
def test_where_a_wheel_is_missing_no_lock_is_written(answers, where, what, says):
    answers[0][where] = what
    with pytest.raises(SystemExit, match=says):
        locking.lock()
    assert packages.LOCK.read_text() == "the old lock" and "sha256:00" in locking.COLAB.read_text()
    assert "sha256:00" in locking.TRACKERS.read_text()


def test_a_changed_pin_without_its_lock_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "REQUIREMENTS", tmp_path / "requirements.txt")
    packages.REQUIREMENTS.write_text("six==1.17.0\n")
    with pytest.raises(SystemExit, match="make lock"):
        packages.install_locked(sys.executable, [])


def test_pins_of_a_lock_keep_their_hashes():
    text = "# head\na==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\nB_c==2  # why\n"
    assert packages.pins(text) == {
        "a": "a==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11",
        "b-c": "B_c==2  # why",
    }


@pytest.fixture
def wheelhouse(tmp_path):
    """Two small wheels, a lock that knows the hash of one, and a pip that sees only them."""
    house = tmp_path / "wheels"
    house.mkdir()

    def wheel(name, version):
        path = house / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            info = f"{name}-{version}.dist-info"
            archive.writestr(f"{name}.py", f"version = {version!r}\n")
            archive.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return wheel, house


def test_an_own_build_is_told_and_everything_else_is_checked(
    wheelhouse, tmp_path, monkeypatch, capfd
):
    """A folder of find-links may hold another torch; a changed file of another is refused."""
    wheel, house = wheelhouse
    wheel("torch", "2.0+cpu")
    good = wheel("moon", "1.0")
    monkeypatch.setattr(packages, "REQUIREMENTS", tmp_path / "requirements.txt")
    monkeypatch.setattr(packages, "LOCK", tmp_path / "requirements.lock")
    packages.REQUIREMENTS.write_text("torch==2.0\nmoon==1.0\n")
    digest = packages.digest_of_pins()
    lock = f"# {digest}\ncuda==9 \\\n    --hash=sha256:{'0' * 64}\n"
    lock += f"moon==1.0 \\\n    --hash=sha256:{good}\ntorch==2.0 \\\n    --hash=sha256:{'1' * 64}\n"
    packages.LOCK.write_text(lock)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(house))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    venv = tmp_path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    program = environment.python_of(venv)
    pip = [program, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    packages.install_locked(program, pip)
    said = capfd.readouterr().out
    assert "torch is this computer's own build, torch-2.0+cpu" in said
    assert "every other package was checked" in said
    code = "import moon, torch; print(moon.version, torch.version)"
    assert running.ask([program, "-c", code]) == "1.0 2.0+cpu"
    # cuda, which only the lock names, belongs to the index's torch and was left out.

    monkeypatch.setattr(packages, "install_own", lambda *_: {"torch": "as before"})
    forged = lock.replace(good, "2" * 64)
    bare = re.sub(r" \\\n    --hash=\S+", "", lock)
    for text in (forged, bare):  # another file than the one that was locked; a lock without hashes
        packages.LOCK.write_text(text)
        running.ask([program, "-m", "pip", "uninstall", "-y", "moon"])
        with pytest.raises(SystemExit, match="unset it"):
            packages.install_locked(program, pip)
        assert "hashes" in capfd.readouterr().err.lower()
        assert running.ask([program, "-c", "import moon"]) is None


@pytest.mark.parametrize(
    ("library", "left"),
    [
        (("glibc", "2.31"), {"mlx", "mlx-cpu"}),
        (("glibc", "2.34"), {"mlx", "mlx-cpu"}),
        (("glibc", "2.35"), set()),
        (("glibc", "2.39"), set()),
        (("", ""), set()),  # macOS, Windows: what their markers say
    ],
)
def test_an_older_linux_does_without_what_asks_for_a_newer_c_library(library, left, monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: library)
    assert packages.left_out() == left
    assert set(packages.NEEDS_GLIBC) <= set(PINS)


def test_what_is_left_out_is_not_asked_for_and_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(packages, "REQUIREMENTS", tmp_path / "requirements.txt")
    monkeypatch.setattr(packages, "LOCK", tmp_path / "requirements.lock")
    packages.REQUIREMENTS.write_text("mlx==1\nmoon==1.0\n")
    packages.LOCK.write_text(f"# {packages.digest_of_pins()}\nmlx==1\nmoon==1.0\n")
    asked = []

    def pip(command, **settings):
        asked.append(Path(command[-1]).read_text())
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(packages.subprocess, "run", pip)
    monkeypatch.setattr(packages, "install_own", lambda *_: {})
    for version in ("2.36", "2.31"):
        monkeypatch.setattr(platform, "libc_ver", lambda version=version: ("glibc", version))
        packages.install_locked("python", ["pip"])
    assert asked == ["mlx==1\nmoon==1.0\n", "moon==1.0\n"]
    assert capsys.readouterr().out.count("mlx was left out: this computer's glibc is too old") == 1


def test_mlx_is_pinned_where_its_extra_asks_for_it():
    """Linux and Apple's processors: the same systems in both files, all parts of one version."""
    (extra,) = map(Requirement, PROJECT["optional-dependencies"]["mlx"])
    parts = ("mlx", "mlx-cpu", "mlx-metal")
    versions = {next(iter(LOCKED[name].specifier)).version for name in parts}
    assert len(versions) == 1 and versions.pop() in extra.specifier
    for system, machine, wanted in (
        ("linux", "x86_64", {"mlx", "mlx-cpu"}),
        ("linux", "aarch64", {"mlx", "mlx-cpu"}),
        ("darwin", "arm64", {"mlx", "mlx-metal"}),
        ("darwin", "x86_64", set()),
        ("win32", "AMD64", set()),
    ):
        about = {"sys_platform": system, "platform_machine": machine}
        assert {name for name in parts if PINS[name].marker.evaluate(about)} == wanted
        assert {name for name in parts if LOCKED[name].marker.evaluate(about)} == wanted
        assert extra.marker.evaluate(about) == bool(wanted)


# What Colab has on its usual machines, as it publishes it, in August 2026.
COLAB = {
    **{name: "".join(re.findall(r"==([\w.]+)", entry)) for name, entry in
       packages.pins(colab.LOCK.read_text(encoding="utf-8")).items()},
    **{"safetensors": "0.8.0", "tiktoken": "0.14.0", "torch": "2.11.0"},
}  # fmt: skip


def test_the_package_installs_beside_what_colab_has():
    asked = {line.name: line.specifier for line in map(Requirement, PROJECT["dependencies"])}
    assert set(asked) <= set(COLAB)
    assert all(COLAB[name] in specifier for name, specifier in asked.items())


@pytest.mark.parametrize("version", ["2.5.1", "2.6.0", "2.9.1"])
def test_no_torch_is_allowed_whose_safe_loading_had_a_hole(version):
    """CVE-2025-32434 was closed in 2.6.0, CVE-2026-24747 in 2.10.0: both in `weights_only=True`."""
    (torch,) = [line for line in map(Requirement, PROJECT["dependencies"]) if line.name == "torch"]
    assert version not in torch.specifier and "2.10.0" in torch.specifier


@pytest.mark.parametrize(
    ("name", "older", "first"),
    [("regex", "2024.7.24", "2024.9.11"), ("tiktoken", "0.7.0", "0.8.0")],
)
def test_nothing_is_allowed_whose_letters_are_older_than_ours(name, older, first):
    """given/unicode16.py takes newer letters away, and cannot add what a library does not know.

    regex 2024.7.24 knows 136,726 letters and not 141,028: other tokens for the same text.
    """
    (asked,) = [line for line in map(Requirement, PROJECT["dependencies"]) if line.name == name]
    assert older not in asked.specifier and first in asked.specifier


# Variables ---------------------------------------------------------------------------------------

LEADS_ELSEWHERE = {
    **{f"PIP_{name}": "1" for name in ("USER", "NO_DEPS", "PRE", "DRY_RUN", "REQUIRE_VIRTUALENV")},
    **{f"PIP_{name}": "/else" for name in ("TARGET", "PREFIX", "ROOT", "LOG", "PYTHON")},
    **{f"PYTHON{name}": "/else" for name in ("PATH", "HOME", "USERBASE", "STARTUP")},
    **{"PYTHONOPTIMIZE": "1", "JUPYTER_PATH": "/else", "MPLBACKEND": "agg", "VIRTUAL_ENV": "/else"},
}
IS_NEEDED = {
    **{"PATH": "/bin", "HOME": "/root", "LANG": "C.UTF-8", "HTTPS_PROXY": "x", "PYTHONUTF8": "1"},
    **{f"PIP_{n}": "x" for n in ("INDEX_URL", "FIND_LINKS", "CERT", "PROXY", "NO_INDEX")},
}


def test_variables_that_lead_elsewhere_do_not_reach_a_program():
    cleaned = running.clean_environment({**LEADS_ELSEWHERE, **IS_NEEDED})
    assert cleaned["PIP_USER"] == "0"  # wins over `user = true` in a configuration file of pip
    assert not (set(LEADS_ELSEWHERE) - {"PIP_USER"}) & set(cleaned)
    assert {name: cleaned[name] for name in IS_NEEDED} == IS_NEEDED


def test_every_program_reads_and_writes_utf_8_whatever_the_machine_prefers(tmp_path):
    """Windows, and Linux with the locale C, would read a chapter in another encoding."""
    (tmp_path / "a.txt").write_text("Größe", encoding="utf-8")
    code = "import sys; print(open(sys.argv[1]).read() == 'Gr\\u00f6\\u00dfe')"
    command = [sys.executable, "-c", code, str(tmp_path / "a.txt")]
    other = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}

    def reads(variables):
        answer = subprocess.run(command, env=variables, capture_output=True, text=True)
        return answer.stdout.strip() == "True"

    bare = {**os.environ, **other}
    assert os.name == "nt" or not reads(bare)  # the danger is real
    assert reads(running.clean_environment(bare))


def test_a_foreign_kernel_of_the_same_name_is_not_used(tmp_path):
    """Another program's kernel "python3" in the user's own Jupyter folders."""
    spec = tmp_path / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text('{"argv": ["/bin/false"], "display_name": "foreign", "language": "python"}')
    code = "from jupyter_client.kernelspec import KernelSpecManager as K\n"
    code += "print(K().get_kernel_spec('python3').resource_dir)"
    folders = {"JUPYTER_PATH": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]

    def kernel(variables):
        return subprocess.run(command, env=variables, capture_output=True, text=True).stdout.strip()

    assert kernel({**os.environ, **folders}) == str(spec.parent)  # the danger is real
    ours = kernel(running.clean_environment({**os.environ, **folders}))
    assert Path(ours).is_relative_to(sys.prefix)
    assert "JUPYTER_PATH" not in os.environ and os.environ["JUPYTER_PREFER_ENV_PATH"] == "1"


# Folders -----------------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path):
    """A folder with an environment whose stamp says that it is finished; its pip is a dummy."""
    if os.name != "posix":
        pytest.skip("pip's scripts are programs here, and a moved environment is made anew")
    venv = tmp_path / "course" / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.rglob("site-packages")
    (site / "pip").mkdir()
    (site / "pip" / "__init__.py").write_text("import sys\n\ndef main(): print(sys.prefix)\n")
    script = environment.scripts(venv) / "pip"  # as pip writes the scripts of packages
    script.write_text(f"#!{environment.python_of(venv)}\nfrom pip import main\nmain()\n")
    script.chmod(0o755)
    stamp = f"{environment.wanted(sys.version_info)}\n{venv}\n"
    (venv / environment.STAMP).write_text(stamp, encoding="utf-8")
    return venv


def prefix_of(script: Path) -> str:
    """The environment that a script of an environment runs in, which the dummy pip prints."""
    return subprocess.run([script], capture_output=True, text=True).stdout.strip()


def test_where_it_was_made_an_environment_is_ready(course):
    assert environment.is_ready(course, sys.version_info)
    assert environment.is_usable(course, sys.version_info)
    assert not environment.is_moved(course)
    assert not environment.is_usable(course, (3, 9, 0))


# What a script begins with; the second where a path is long.
STARTS = (
    "#!{}\n",
    "#!/bin/sh\n'''exec' \"{}\" \"$0\" \"$@\"\n' '''\n",
)


@pytest.mark.parametrize("start", STARTS)
def test_an_environment_whose_path_is_the_end_of_another_s_is_not_that_one(course, start):
    pip, python = environment.scripts(course) / "pip", environment.python_of(course)
    here = (python, f"{python}3.11")
    for path in (*here, f"/mnt{python}", f"{python}x"):
        pip.write_text(start.format(path) + "from pip import main\n", encoding="utf-8")
        assert environment.is_moved(course) == (path not in here)


def test_without_a_stamp_or_for_another_python_it_is_not_ready(course):
    assert not environment.is_ready(course, (3, 9, 0))
    (course / environment.STAMP).unlink()
    assert not environment.is_ready(course, sys.version_info)


@pytest.mark.parametrize("name", ["elsewhere", "Größe und Maß/a b"])
@pytest.mark.parametrize("way", [shutil.move, shutil.copytree])
def test_a_moved_and_a_copied_environment_are_noticed_and_mended(course, tmp_path, way, name):
    new = tmp_path / name / ".venv"
    new.parent.mkdir(parents=True)
    keep_links = {"symlinks": True} if way is shutil.copytree else {}
    way(course, new, **keep_links)
    pip = environment.scripts(new) / "pip"
    if way is shutil.copytree:
        assert prefix_of(pip) == str(course), "a copied script uses the original, silently"
    else:
        with pytest.raises(FileNotFoundError):
            prefix_of(pip)

    assert not environment.is_ready(new, sys.version_info)
    assert environment.is_usable(new, sys.version_info) and environment.is_moved(new)
    environment.repair(new)
    assert not environment.is_moved(new)
    assert prefix_of(pip) == str(new)
    command = (
        f'. "{environment.scripts(new)}/activate" && python -c "import sys; print(sys.prefix)"'
    )
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout.strip()
    assert said == str(new)
    assert not any(
        os.fsencode(course) in path.read_bytes()
        for path in [new / "pyvenv.cfg", *environment.scripts(new).iterdir()]
        if path.is_file() and not path.is_symlink()
    )


@pytest.mark.parametrize("finished", [True, False])
def test_a_moved_environment_is_mended_without_a_network(course, tmp_path, monkeypatch, finished):
    """Only gptlib is installed again, from here; where the old one was unfinished, everything."""
    done = []
    new = tmp_path / ".venv"
    if not finished:
        (course / environment.STAMP).unlink()
    course.rename(new)
    pins = environment.wanted(sys.version_info)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "wanted", lambda _: pins)
    monkeypatch.setattr(environment, "install_locked", lambda *_: done.append("packages"))
    real = environment.run
    monkeypatch.setattr(
        environment, "run", lambda c: done.append("gptlib") if "--editable" in c else real(c)
    )
    here = str(tmp_path / "gptlib" / "__init__.py")
    asks = environment.ask
    monkeypatch.setattr(environment, "ask", lambda c: here if "-I" in c else asks(c))
    python = pythons.probe(sys.executable)
    environment.install(new, python, also=lambda: done.append("javascript"))
    rest = [] if finished else ["packages", "javascript"]
    assert done == [*rest, "gptlib"]
    assert environment.is_ready(new, sys.version_info) and not environment.is_moved(new)
    environment.install(new, python)
    assert done == [*rest, "gptlib"]  # nothing is done twice


def test_on_windows_a_moved_environment_is_made_anew(course, tmp_path, monkeypatch):
    """The path of its Python stands inside of its programs there, where nothing can mend it."""
    commands, new = [], tmp_path / ".venv"
    course.rename(new)
    for name in ("pip", "python"):
        (new / "bin" / name).rename(new / "bin" / f"{name}.exe")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "os", SimpleNamespace(name="nt", fsencode=os.fsencode))
    monkeypatch.setattr(environment, "scripts", lambda venv: venv / "bin")
    monkeypatch.setattr(environment, "run", commands.append)
    monkeypatch.setattr(environment, "is_usable", lambda *_: True)
    python = pythons.probe(sys.executable)
    assert environment.is_moved(new) and not environment.make(new, python)
    assert commands == [[python.program, "-m", "venv", "--clear", new]]
    pip = new / "bin" / "pip.exe"
    pip.write_bytes(b"MZ#!" + os.fsencode(new / "bin" / "python.exe") + b"\r\nPK")
    assert environment.make(new, python) and len(commands) == 1  # where it was made, it stays


@pytest.mark.parametrize("damage", ["its Python is gone", "no pip", "another system's"])
def test_an_environment_that_does_not_run_is_made_anew(course, monkeypatch, damage):
    commands = []
    monkeypatch.setattr(environment, "ROOT", course.parent)
    monkeypatch.setattr(environment, "run", commands.append)
    if damage == "its Python is gone":
        for path in environment.scripts(course).glob("python*"):
            path.unlink()
            path.symlink_to("/nowhere/python")
    elif damage == "no pip":
        shutil.rmtree(next(course.rglob("site-packages/pip")))
    else:
        environment.scripts(course).rename(course / "elsewhere")
    assert not environment.is_usable(course, sys.version_info)
    python = pythons.probe(sys.executable)
    environment.make(course, python)
    assert commands == [[python.program, "-m", "venv", "--clear", course]]


def test_a_python_without_venv_is_told_what_to_install(course, monkeypatch):
    monkeypatch.setattr(environment, "ROOT", course.parent)
    shutil.rmtree(course)
    python = pythons.probe(sys.executable)._replace(has_venv=False)
    with pytest.raises(SystemExit, match=r"apt-get install python3\.\d+-venv"):
        environment.make(course, python)


def test_an_environment_without_our_gptlib_is_never_ready(course, monkeypatch):
    """A configuration file of pip can send packages elsewhere, and pip says nothing."""
    monkeypatch.setattr(environment, "run", lambda _: None)
    monkeypatch.setattr(environment, "install_locked", lambda *_: None)
    monkeypatch.setattr(environment, "ROOT", course.parent)
    monkeypatch.setattr(environment, "wanted", lambda _: "new")
    with pytest.raises(SystemExit, match="target or prefix"):
        environment.install(course, pythons.probe(sys.executable))
    assert not environment.is_ready(course, sys.version_info)


def test_this_environment_runs_this_folders_gptlib():
    """What set-up checks last: also true of every kernel and test that starts from here."""
    code = "import gptlib; print(gptlib.__file__)"
    answer = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == str(ROOT / "gptlib" / "__init__.py")


@pytest.fixture
def read_only(monkeypatch, tmp_path):
    """A folder for the course in which no file can be made, not even by root: there is none."""
    monkeypatch.setattr(running, "ROOT", tmp_path / "none")
    monkeypatch.setattr(environment, "VENV", tmp_path / "none" / ".venv")
    monkeypatch.setattr(environment, "is_ready", lambda *_: False)
    monkeypatch.setattr(tasks, "HTML", tmp_path / "html")
    assert not running.can_write()
    return tmp_path / "html"


def test_a_folder_of_our_own_can_be_written_to(monkeypatch, tmp_path):
    monkeypatch.setattr(running, "ROOT", tmp_path)
    assert running.can_write() and not list(tmp_path.iterdir())


def test_from_a_read_only_folder_a_built_book_is_served(read_only, monkeypatch, capsys):
    served = []
    monkeypatch.setattr(tasks, "serve", lambda *where: served.append(where))
    read_only.mkdir()
    (read_only / "index.html").write_text("a built book")
    tasks.main(["book", "--port", "1234"])
    assert served == [(read_only, 1234)]
    assert "shown as it was built last" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["book"], ["setup"], ["test"], ["lab"], ["zip"]])
def test_in_a_read_only_folder_the_rest_says_what_to_do(read_only, words):
    with pytest.raises(SystemExit, match=r"cannot be written to.* copy the course into a folder"):
        tasks.main(words)
