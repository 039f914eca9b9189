"""A text made ready: what is found, how it is split, and that tokens are those of `encode`."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from gptlib.cli.main import main
from gptlib.corpus import END, stories
from gptlib.engine import prepare as making
from gptlib.engine.prepare import encoded, prepare
from gptlib.engine.prepared import Prepared, bytes_of_tokens, is_prepared, tokenizer_at
from gptlib.engine.texts import Stories, TextFile, documents, find
from gptlib.tokenizer import BPETokenizer, CharTokenizer

TEXT = "".join(f"Line {n}: the quick brown fox, für immer 🍎.\n" for n in range(60))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def book(here):
    (here / "book.txt").write_text(TEXT, encoding="utf-8")
    return here / "book.txt"


# Texts -------------------------------------------------------------------------------------------


def test_a_file_is_read_in_pieces_as_python_reads_it(here, monkeypatch):
    """Pieces of every size, so that they cut characters, line ends and the mark of byte order."""
    whole = "\ufeffone\r\ntwo\rthree 🍎\n\r\n"
    (here / "a.txt").write_bytes(whole.encode())
    for size in range(1, 9):
        monkeypatch.setattr("gptlib.engine.texts.PIECE", size)
        read = "".join(TextFile(here / "a.txt", "a").pieces())
        assert read == "one\ntwo\nthree 🍎\n\n"


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_what_is_no_text_is_refused_at_its_place(here, monkeypatch, size):
    monkeypatch.setattr("gptlib.engine.texts.PIECE", size)
    (here / "a.txt").write_bytes("añb".encode() + b"\xff tail")
    with pytest.raises(ValueError, match=r"a.txt is not UTF-8 text: byte 0xff at position 4 "):
        list(TextFile(here / "a.txt", "a").pieces())
    (here / "a.txt").write_bytes(b"a\0b")
    with pytest.raises(ValueError, match="bytes of value 0"):
        list(TextFile(here / "a.txt", "a").pieces())


def test_files_folders_and_patterns_are_found_once_and_in_order(here):
    for name in ("b.txt", "a.md", "sub/c.txt", "sub/d.bin", ".hidden.txt"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text("x", encoding="utf-8")
    assert [t.path.name for t in find(["."])] == ["a.md", "b.txt", "c.txt"]
    assert [t.path.name for t in find(["b.txt", "*.txt", "sub/../b.txt"])] == ["b.txt"]
    assert [t.path.name for t in find(["**/*.bin"])] == ["d.bin"]
    for words, reason in (
        (["none"], "none is no file, no folder, no pattern"),
        ([], "at least one text"),
    ):
        with pytest.raises(ValueError, match=reason):
            find(words)
    (here / "empty").mkdir()
    with pytest.raises(ValueError, match=r"a folder without a file that ends in .txt"):
        find(["empty"])


def test_the_stories_are_those_of_the_corpus():
    pieces = list(Stories(5, 3, 1).pieces())
    assert pieces == [story.text + END for story in stories(5, 3)]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_documents_are_those_of_a_split_of_the_whole(monkeypatch, size):
    monkeypatch.setattr("gptlib.engine.texts.PIECE", 10)
    texts = ["one<|>two<|>\n", "<|>three, which is longer than a piece", "  \n"]
    pieces = [[t[i : i + size] for i in range(0, len(t), size)] for t in texts]
    found: dict[int, str] = {}
    for number, part in documents(pieces, "<|>"):
        found[number] = found.get(number, "") + part
    wanted = ["one<|>", "two<|>", "<|>", "three, which is longer than a piece<|>"]
    assert list(found.values()) == wanted


# Tokens ------------------------------------------------------------------------------------------


def ids_of(folder) -> tuple[list[int], list[int]]:
    made = Prepared.open(folder)
    return made.train.tolist(), made.validation.tolist()


def test_characters_are_cut_as_nanogpt_cuts_them(book):
    made = prepare([book], "out")
    n = int(len(TEXT) * 0.9)
    tokenizer = CharTokenizer(TEXT)
    assert ids_of("out") == (tokenizer.encode(TEXT[:n]), tokenizer.encode(TEXT[n:]))
    assert made.train.dtype == np.uint16 and isinstance(made.train, np.memmap)
    about = json.loads((made.folder / "manifest.json").read_text(encoding="utf-8"))
    assert about["train"]["bytes"] == len(TEXT[:n].encode())
    assert about["validation"]["characters"] == len(TEXT) - n
    assert about["sources"][0]["sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert about["split"] == "position" and about["mark"] is None


@pytest.mark.parametrize("size", [7, 64, 10_000])
def test_whole_documents_are_held_out_and_encoded_as_a_whole(here, monkeypatch, size):
    texts = [f"Document {n} ends soon " * (1 + n % 3) for n in range(30)]
    (here / "all.txt").write_text(END.join(texts) + END, encoding="utf-8")
    monkeypatch.setattr("gptlib.engine.texts.PIECE", size)
    made = prepare(["all.txt"], "out", tokenizer="bpe", vocab_size=280)
    assert made.about["split"] == "marks" and made.about["validation"]["documents"] == 3
    train, validation = (
        made.tokenizer.decode(ids).removesuffix(END).split(END) for ids in ids_of("out")
    )
    assert sorted(train + validation) == sorted(texts) and len(validation) == 3
    whole = "".join(text + END for text in train)
    assert made.tokenizer.encode(whole, allowed_special="all") == made.train.tolist()
    first = made.validation.tolist()
    assert prepare(["all.txt"], "out", tokenizer="bpe", vocab_size=280).validation.tolist() == first


def test_of_two_documents_one_is_held_out(here):
    (here / "two.txt").write_text(f"abc{END}cab{END}", encoding="utf-8")
    about = prepare(["two.txt"], "out").about
    assert [about[part]["documents"] for part in ("train", "validation")] == [1, 1]


def test_stories_are_of_the_first_volume_unless_another_is_named(here):
    for volume, more in ((1, {}), (2, {"volume": 2})):
        made = prepare(["stories"], "out", tokenizer="bpe", vocab_size=257, stories=6, **more)
        ids = [*made.train.tolist(), *made.validation.tolist()]
        told = made.tokenizer.decode(ids).removesuffix(END).split(END)
        assert sorted(told) == sorted(story.text for story in stories(6, 0, volume))


def test_files_may_be_documents(here):
    for n in range(10):
        (here / f"{n}.txt").write_text(f"file {n}", encoding="utf-8")
    made = prepare(["*.txt"], "out", split="files", tokenizer="bpe", vocab_size=258)
    text = made.tokenizer.decode(made.train.tolist())
    assert text.count(END) == 9 and made.about["train"]["documents"] == 9


def test_the_command_says_where_far_more_is_held_out_than_was_asked_for(here, book, capsys):
    (here / "few.txt").write_text(f"short{END}{TEXT}", encoding="utf-8")
    held_out = {}
    for seed in range(4):
        assert main(["prepare", "few.txt", "--out", f"few{seed}", "--seed", str(seed)]) == 0
        held_out[seed] = capsys.readouterr().out
    many = [said for said in held_out.values() if "99% of the text is held out" in said]
    assert many and all("10% were asked for" in s and "--split position" in s for s in many)
    assert main(["prepare", "book.txt", "--out", "book"]) == 0
    assert "held out" not in capsys.readouterr().out


def test_merges_are_learned_from_what_is_not_held_out(here, monkeypatch):
    (here / "a.txt").write_text("ab" * 400 + "xyz" * 80, encoding="utf-8")
    made = prepare(["a.txt"], "out", tokenizer="bpe", vocab_size=259, validation=0.3)
    assert [made.tokenizer.vocab[i] for i in range(256, 259)] == [b"ab", b"abab", b"abababab"]
    monkeypatch.setattr(making, "SAMPLE", 100)
    monkeypatch.setattr("gptlib.engine.texts.PIECE", 50)
    plan = making.Plan(find(["a.txt"]), END, "position", 0.3, 0)
    plan.count()
    sample = list(plan.sample())
    assert 50 <= sum(map(len, sample)) <= 150 and not any("x" in part for part in sample)


def test_a_tokenizer_is_used_again(book):
    prepare([book], "one", tokenizer="bpe", vocab_size=270)
    again = prepare([book], "two", tokenizer="one/tokenizer.json")
    assert again.tokenizer.fingerprint() == tokenizer_at("one/tokenizer.json").fingerprint()
    assert ids_of("one") == ids_of("two")


def test_encoded_characters_are_those_of_encode():
    tokenizer = CharTokenizer("abc🍎")
    assert np.concatenate(list(encoded(tokenizer, ["ab🍎", "", "c"]))).tolist() == [0, 1, 3, 2]
    for bad in ("abz", "ab\U0010ffff"):
        with pytest.raises(ValueError, match="which is none of the 4 characters"):
            list(encoded(tokenizer, [bad]))


def test_bytes_of_tokens_add_up_to_those_of_the_text(book):
    for kind in ("chars", "bpe"):
        made = prepare([book], "out", tokenizer=kind, vocab_size=270)
        assert bytes_of_tokens(made.tokenizer)[made.train].sum() == made.about["train"]["bytes"]


def test_a_large_vocabulary_takes_four_bytes(here):
    text = "".join(chr(0x4E00 + n % 20_000) + chr(0x20000 + n) for n in range(60_000))
    (here / "a.txt").write_text(text, encoding="utf-8")
    made = prepare(["a.txt"], "out")
    assert made.train.dtype == np.uint32
    assert made.tokenizer.decode(made.train[:500].tolist()) == text[:500]


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"split": "half"}, "split must be one of auto, marks, files, position; got 'half'"),
        ({"validation": 1.0}, "validation must lie between 0 and 1"),
        ({"mark": ""}, "mark must be a text of at least one character"),
        ({"split": "marks"}, "documents must be two or more to hold some out; there is 1"),
        ({"tokenizer": "words"}, "words is no file: name a tokenizer.json"),
        ({"tokenizer": "bpe", "vocab_size": 100_000}, "vocab_size of at most"),
        ({"validation": 1e-20}, "the text is too short: nothing is left for validation"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(book, here, changes, reason):
    with pytest.raises(ValueError, match=reason):
        prepare([book], "out", **changes)
    assert sorted(p.name for p in here.iterdir()) == ["book.txt"]


def test_a_folder_of_something_else_stays_as_it_is(book, here):
    (here / "out").mkdir()
    (here / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match="something else"):
        prepare([book], "out")
    (here / "out" / "manifest.json").write_text('{"format": "gptlib checkpoint 2"}', "utf-8")
    with pytest.raises(ValueError, match="something else than a prepared text"):
        prepare([book], "out")
    with pytest.raises(ValueError, match="does not"):
        prepare([book], "no/such/folder")


def test_a_damaged_folder_is_known(book, here):
    prepare([book], "out")
    assert is_prepared("out") and is_prepared(".") is False
    with (here / "out" / "train.bin").open("r+b") as file:
        file.write(b"\1")
    with pytest.raises(ValueError, match=r"out is not a whole folder .*train.bin has changed"):
        Prepared.open("out")
    (here / "out" / "manifest.json").write_text('{"format": "gptlib text 9", "files": {}}', "utf-8")
    with pytest.raises(ValueError, match="its format is 'gptlib text 9' and not 'gptlib text 1'"):
        Prepared.open("out")
    with pytest.raises(FileNotFoundError, match="make one by gptlib prepare"):
        Prepared.open("nowhere")
    for kind, said in (('"Other"', "'Other'"), ("[]", r"\[\]"), ("{}", "{}")):
        (here / "t.json").write_text(f'{{"type": {kind}}}', "utf-8")
        with pytest.raises(ValueError, match=f"its type is {said}"):
            tokenizer_at("t.json")


@pytest.mark.parametrize("key", ["train", "validation", "sources", "vocab_size", "tokenizer"])
@pytest.mark.parametrize("value", [None, 5, "x", [], [5], [{}], {"tokens": "many"}])
def test_a_forged_manifest_is_refused_or_told_of_in_words(book, here, key, value, capsys):
    prepare([book], "out")
    file = here / "out" / "manifest.json"
    told = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(told | {key: value}), "utf-8")
    code = main(["info", "out"])
    said = capsys.readouterr()
    assert (code == 2 and "is not a whole folder of gptlib prepare" in said.err) or code == 0
    if key in ("train", "validation", "sources"):
        assert code == 2 or (key, value) == ("sources", [])


def test_nothing_is_left_over_of_what_was_learned_by_bytes():
    """GPT-2's own order of bytes is no hindrance."""
    tokenizer = BPETokenizer.from_gpt2("h e")
    assert bytes_of_tokens(tokenizer)[tokenizer.encode("he!")].tolist() == [2, 1]
