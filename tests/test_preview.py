"""The picture beside a shared link, and the lines that name it."""

from __future__ import annotations

import matplotlib.image
import preview
import pytest

PAGE = "<html><head><title>1. Tokenizer</title></head></html>"


def test_the_picture_has_the_size_that_its_lines_promise(tmp_path):
    preview.draw(tmp_path / "preview.png", "A GPT with an answer key")
    drawn = matplotlib.image.imread(tmp_path / "preview.png")
    assert drawn.shape[:2] == preview.SIZE[::-1]
    dark = (drawn[..., :3].mean(axis=-1) < 0.9).mean()
    assert 0.01 < dark < 0.5  # something is drawn, and it is no blot
    assert (tmp_path / "preview.png").stat().st_size < 200_000


def test_a_page_names_it_by_a_whole_address_or_not_at_all(monkeypatch):
    monkeypatch.setenv(preview.ADDRESS, "https://someone.github.io/course")
    page = preview.with_preview(PAGE, preview.address())
    assert (
        'property="og:image" content="https://someone.github.io/course/_static/preview.png"' in page
    )
    assert page.count("og:image:alt") == 1 and page.endswith("</head></html>")
    monkeypatch.delenv(preview.ADDRESS)
    assert preview.with_preview(PAGE, preview.address()) == PAGE


@pytest.mark.parametrize("said", ["someone.github.io/course", "file:///book", "https://"])
def test_what_is_no_address_is_refused(monkeypatch, said):
    monkeypatch.setenv(preview.ADDRESS, said)
    with pytest.raises(ValueError, match="GPTLIB_ADDRESS must begin with https://"):
        preview.address()
