"""Texts in pieces and ids one at a time: the same as the whole, in memory that does not grow."""

import tracemalloc
from itertools import islice

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import gptlib.given.streaming
from gptlib.tokenizer import END_OF_TEXT, BPETokenizer, CharTokenizer, split_text

SPECIAL = ["<s>", "<s> <s>", "<s", "'l", END_OF_TEXT, "b\n"]
NASTY = ["'", "l", "ll", "s", "'re", " ", "  ", "\n", "\t", "\u3000", "a", "b", "ab", "1", ",", "é"]
NASTY += ["<s>", "<s> ", "<", "|>", END_OF_TEXT, "<|endof", "😀", "\u0301", "東"]
HALVES = ["\ud83d", "\ude00"]

LEARNED = "the cat's mat, they'll say: a b ab aab  \n\n the end, the end 東東 😀😀 éé"
TOKENIZER = BPETokenizer(BPETokenizer.train(LEARNED, 290).merges, SPECIAL)


def cut_up(parts):
    """Texts, cut anywhere: each list of strings is one way to cut what they are together."""
    return st.lists(st.lists(st.sampled_from(parts), max_size=4).map("".join), max_size=12)


def outcome(call):
    """What comes out: the ids, or the words of the refusal."""
    try:
        return list(call())
    except ValueError as error:
        return str(error)


@settings(deadline=None, max_examples=400)
@given(cut_up(NASTY + HALVES), st.sets(st.sampled_from(SPECIAL)), st.integers(1, 8))
@example(["a\n\n\n", "b"], set(), 1)
@example(["'", "l", "l"], set(), 1)
@example(["a\ud83d", "\ude00"], set(), 1)
@example(["<s", "> ", "<s", ">"], set(SPECIAL), 1)
def test_pieces_are_encoded_as_the_whole(texts, allowed, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gptlib.given.streaming, "CHUNK", chunk)
        streamed = outcome(lambda: TOKENIZER.encode_iterable(texts, allowed))
    assert streamed == outcome(lambda: TOKENIZER.encode("".join(texts), allowed))


@settings(deadline=None)
@given(cut_up(["a", "b", "😀", "z", *HALVES]))
def test_pieces_are_encoded_as_the_whole_by_characters(texts):
    tokenizer = CharTokenizer("ab😀")
    whole = outcome(lambda: tokenizer.encode("".join(texts)))
    if "lone surrogate" not in whole:  # of two faults the streams meet the first one first
        assert outcome(lambda: tokenizer.encode_iterable(texts)) == whole


def test_a_file_is_encoded_line_by_line_and_by_blocks(tmp_path):
    text = LEARNED * 3_000
    (tmp_path / "text.txt").write_text(text, encoding="utf-8", newline="")
    with open(tmp_path / "text.txt", encoding="utf-8", newline="") as file:
        assert list(TOKENIZER.encode_iterable(file)) == TOKENIZER.encode(text)
        file.seek(0)
        blocks = iter(lambda: file.read(1000), "")
        assert list(TOKENIZER.encode_iterable(blocks)) == TOKENIZER.encode(text)


def test_a_stream_is_read_as_its_ids_are_taken():
    read = []

    def texts():
        for i in range(100):
            read.append(i)
            yield "a bb ccc " * 2**13  # a little more than a chunk

    ids = TOKENIZER.encode_iterable(texts())
    assert read == []
    list(islice(ids, 10))
    assert len(read) == 1


@pytest.mark.parametrize(
    ("texts", "parts"),
    [
        (["ab ", "cd", " e f"], [["ab"], [" cd", " e", " f"]]),
        (["I", "'", "l", "l", " go", "."], [["I"], ["'ll"], [" go", "."]]),  # "'l" waits
        (["ab <s", "> c"], [["ab", " "], ["<s>", " c"]]),  # and so does "<s"
    ],
)
def test_a_word_is_given_out_when_no_later_text_can_change_it(monkeypatch, texts, parts):
    monkeypatch.setattr(gptlib.given.streaming, "CHUNK", 1)
    words = gptlib.given.streaming.stream_words(
        texts, ["<s>"] if "<s" in texts[0] else [], split_text
    )
    assert list(words) == parts


def test_short_texts_are_cut_together():
    cuts = []

    def split(text, special):
        cuts.append(text)
        return split_text(text, special)

    words = gptlib.given.streaming.stream_words("the cat " * 1000, [], split)
    assert len([word for part in words for word in part]) == 2001
    assert len(cuts) == 1


def test_a_long_word_in_small_pieces_is_not_cut_anew_for_each():
    seen = []

    def split(text, special):
        seen.append(len(text))
        return split_text(text, special)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gptlib.given.streaming, "CHUNK", 10)
        words = gptlib.given.streaming.stream_words(["a"] * 50_000, [], split)
        assert [word for part in words for word in part] == ["a" * 50_000]
    assert sum(seen) < 4 * 50_000


def test_a_batch_is_each_text_alone():
    texts = ["the end", "", f"a{END_OF_TEXT}"]
    assert TOKENIZER.encode_batch(iter(texts)) == [TOKENIZER.encode(text) for text in texts]
    with_special = [TOKENIZER.encode(text, "all") for text in texts]
    assert TOKENIZER.encode_batch(texts, allowed_special="all") == with_special
    assert CharTokenizer("ab").encode_batch(["ab", "", "b"]) == [[0, 1], [], [1]]
    for bad in ("ab", b"ab", 5, None):
        with pytest.raises(ValueError, match="texts must be a list of texts"):
            TOKENIZER.encode_batch(bad)


@pytest.mark.parametrize("texts", [5, None, ["a", 5], ["a", b"b"], [["a"]]])
def test_texts_must_be_texts(texts):
    for stream in (
        TOKENIZER.encode_iterable,
        CharTokenizer("a").encode_iterable,
        lambda texts: BPETokenizer.train(texts, 256),
    ):
        with pytest.raises(ValueError, match="text must be a str, got"):
            list(stream(texts))


def test_the_allowed_special_tokens_are_checked_before_the_first_text():
    with pytest.raises(ValueError, match="allowed_special"):
        TOKENIZER.encode_iterable(["a"], allowed_special=["<other>"])


# --- Training -----------------------------------------------------------------------------------


@settings(deadline=None)
@given(cut_up(NASTY), st.sampled_from([[], SPECIAL]), st.integers(1, 8))
def test_training_on_pieces_is_training_on_the_whole(texts, special, chunk):
    def merges(text):
        try:
            return BPETokenizer.train(text, 262 + len(special), special).merges
        except ValueError as error:
            return str(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gptlib.given.streaming, "CHUNK", chunk)
        pieces = merges(iter(texts))
    assert pieces == merges("".join(texts))


def peak(call):
    """The most memory that a call held at a time, in bytes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


TEXTS = {n: LEARNED * n for n in (4_000, 16_000)}
STREAMS = {
    "training on lines": lambda n: BPETokenizer.train((LEARNED for _ in range(n)), 270),
    "training on one text": lambda n: BPETokenizer.train(TEXTS[n], 270),
    "encoding": lambda n: sum(TOKENIZER.encode_iterable(LEARNED for _ in range(n))),
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_memory_does_not_grow_with_the_text(stream):
    """A list of the words of the longer text would take twenty megabytes."""
    short, long = (peak(lambda n=n: stream(n)) for n in TEXTS)
    assert long < short + 2**20 < 16 * 2**20


# --- Decoding -----------------------------------------------------------------------------------


def test_a_character_is_shown_when_it_is_whole_and_not_before():
    tokenizer = BPETokenizer([])
    ids = tokenizer.encode("Привет")
    assert len(ids) == 12
    assert list(tokenizer.decode_iterable(ids)) == list("Привет")
    assert list(tokenizer.decode_iterable([*"🍎!".encode()])) == ["🍎", "!"]
    assert list(tokenizer.decode_iterable([97, 0xF0, 0x9F])) == ["a", "\ufffd"]
    assert list(CharTokenizer("abc").decode_iterable([2, 0])) == ["c", "a"]


def test_a_piece_is_there_before_the_next_id_is_asked_for():
    asked = []

    def ids():
        for i in "añb".encode():
            asked.append(i)
            yield i

    pieces = BPETokenizer([]).decode_iterable(ids())
    assert [(next(pieces), len(asked)) for _ in range(3)] == [("a", 1), ("ñ", 3), ("b", 4)]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=40))
def test_pieces_joined_are_what_decode_gives(ids):
    assert "".join(TOKENIZER.decode_iterable(ids)) == TOKENIZER.decode(ids)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from([0x61, 0x80, 0xBF, 0xC3, 0xE0, 0xA9, 0xED, 0xF0, 0x9F, 0x90, 0xFF]))
)
def test_pieces_joined_are_what_decode_gives_for_bytes_that_are_no_text(ids):
    assert "".join(BPETokenizer([]).decode_iterable(ids)) == bytes(ids).decode(errors="replace")


@pytest.mark.parametrize("tokenizer", [TOKENIZER, CharTokenizer("abc")])
def test_a_bad_id_is_named_when_it_comes(tokenizer):
    pieces = tokenizer.decode_iterable(iter([0, tokenizer.vocab_size]))
    with pytest.raises(ValueError, match=rf"ids\[1\] is {tokenizer.vocab_size}, outside"):
        list(pieces)
