"""GPT-2's files are fetched where they are asked for, once, and no other ones are taken."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import transformers

from gptlib.engine import published
from gptlib.engine.export import from_pretrained
from gptlib.engine.published import GPT2, gpt2_folder
from gptlib.given.download import DownloadError

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
