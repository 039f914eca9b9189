"""GPT-2's files are fetched where they are asked for, once, and no other ones are taken."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import transformers

from gptlib.counts import count_parameters
from gptlib.engine import published
from gptlib.engine.export import from_pretrained
from gptlib.engine.forms import from_gpt2
from gptlib.engine.published import GPT2, LARGER, gpt2_folder
from gptlib.given.download import DownloadError
from gptlib.gpt import GPTConfig

MERGES = "#version: 0.2\nt h\nth e\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A small GPT-2 with random weights at a home of its own, and an empty cache."""
    place = tmp_path / "home"
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=258, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(place)
    (place / "merges.txt").write_text(MERGES, "utf-8")
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=place)
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *words: None)
    monkeypatch.setenv("GPTLIB_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    files = []
    for source in GPT2:
        name = source.file.removeprefix("gpt2.")
        content = (place / name).read_bytes()
        files.append(
            replace(
                source,
                url=f"http://127.0.0.1:{server.server_port}/{name}",
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )
    monkeypatch.setattr(published, "GPT2", tuple(files))
    monkeypatch.setattr(published, "HOME", f"http://127.0.0.1:{server.server_port}")
    yield place
    server.shutdown()
    server.server_close()


def test_it_is_absent_until_it_is_asked_for_and_then_it_stays(home):
    assert gpt2_folder() is None
    folder = gpt2_folder(fetch=True)
    model, tokenizer = from_pretrained(folder)
    idx = torch.tensor([[1, 5, 9, 2]])
    theirs = transformers.GPT2LMHeadModel.from_pretrained(home).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(idx)[0], theirs(idx).logits, atol=1e-5, rtol=1e-5)
    assert tokenizer.decode(tokenizer.encode("the")) == "the"
    for name in ("config.json", "merges.txt", "model.safetensors"):
        (home / name).unlink()  # nobody asks for it a second time
    assert gpt2_folder() == gpt2_folder(fetch=True) == folder


def test_a_disk_without_links_gets_copies(home, monkeypatch):
    def refused(*_):
        raise OSError("no links here")

    monkeypatch.setattr(published.os, "link", refused)
    folder = gpt2_folder(fetch=True)
    assert (folder / "config.json").read_bytes() == (home / "config.json").read_bytes()


def test_a_file_that_is_another_is_not_taken(home):
    weights = home / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(DownloadError):
        gpt2_folder(fetch=True)
    assert gpt2_folder() is None
    assert not (Path(home).parent / "cache" / "gpt2" / "model.safetensors").exists()


def test_the_pins_name_one_commit_and_the_published_sizes():
    assert len({source.url.rsplit("/", 1)[0] for source in GPT2}) == 1
    assert [source.size for source in GPT2] == [665, 456_318, 548_105_171]


@pytest.fixture
def larger(home, monkeypatch):
    """Two larger ones at the same home, the sum of one of them pinned: their weights' bytes."""
    found = {}
    for size, (commit, _, pinned) in LARGER.items():
        content = found[size] = f"the weights of {size}".encode()
        place = home / f"gpt2-{size}" / "resolve" / commit
        place.mkdir(parents=True)
        (place / "model.safetensors").write_bytes(content)
        told = (commit, len(content), pinned and hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(published.LARGER, size, told)
    return found


@pytest.mark.parametrize("size", LARGER)
def test_a_larger_one_comes_with_its_configuration_and_the_same_merges(home, larger, size):
    given = {} if size == "xl" else {"sha256": hashlib.sha256(larger[size]).hexdigest()}
    assert gpt2_folder(size=size, **given) is None
    folder = gpt2_folder(fetch=True, size=size, **given)
    assert folder.name == f"gpt2-{size}" and gpt2_folder(size=size, **given) == folder
    assert (folder / "model.safetensors").read_bytes() == larger[size]
    assert (folder / "merges.txt").read_text("utf-8") == MERGES
    told = json.loads((folder / "config.json").read_text("utf-8"))
    assert from_gpt2(told) == GPTConfig.preset(f"gpt2-{size}")
    assert gpt2_folder() is None  # the small one was not fetched beside it


def test_a_sum_that_nobody_gives_is_asked_for_and_a_wrong_one_is_refused(home, larger):
    with pytest.raises(ValueError, match=r"sha256 must be given for medium: .*gpt2-medium/blob/6d"):
        gpt2_folder(fetch=True, size="medium")
    with pytest.raises(ValueError, match="sha256 must be 64 hexadecimal digits"):
        gpt2_folder(fetch=True, size="medium", sha256="1234")
    with pytest.raises(DownloadError, match="its SHA-256 sum is wrong"):
        gpt2_folder(fetch=True, size="large", sha256="0" * 64)
    for size in ("small", "xl"):
        with pytest.raises(ValueError, match=rf"sha256 of {size} is [0-9a-f]{{64}}; got '0000"):
            gpt2_folder(size=size, sha256="0" * 64)
    with pytest.raises(
        ValueError, match="size must be one of small, medium, large, xl; got 'huge'"
    ):
        gpt2_folder(size="huge")


@pytest.mark.parametrize("size", LARGER)
def test_the_sizes_are_those_of_the_weights_with_their_masks(size):
    """A published file holds the numbers, a mask for each block, and a table of less than 64 kB."""
    config = GPTConfig.preset(f"gpt2-{size}")
    numbers = count_parameters(config) + config.n_layer * config.context_length**2
    assert 0 < LARGER[size][1] - 4 * numbers < 2**16
