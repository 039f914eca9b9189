"""Our tokenizers in the form of Hugging Face's `tokenizers`: the same ids for the same text.

Given, not built. One thing differs and cannot be helped: a mark in plain text is text to us, unless
it is allowed; to them it is always the mark.
"""

from __future__ import annotations

import re
from typing import Any

from gptlib.engine.prepared import Tokenizer
from gptlib.tokenizer import SPLIT_PATTERN, BPETokenizer, CharTokenizer, read_gpt2_merges


def signs() -> list[str]:
    """The visible character that stands for each byte in files of byte-level BPE.

    signs()[32] -> "Ġ"
    """
    visible = read_gpt2_merges("")[1][:188]  # GPT-2's order: the visible bytes first
    others = [byte for byte in range(256) if byte not in visible]
    return [chr(b) if b in visible else chr(256 + others.index(b)) for b in range(256)]


def foreign(tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of a tokenizer.json. Errors: ValueError for merges that it cannot say."""
    if isinstance(tokenizer, CharTokenizer):
        vocab = {char: i for i, char in enumerate(tokenizer.chars)}
        return _file(vocab, [], None, {"type": "Fuse"}, [])
    tokenizer.to_tiktoken()  # raises where two tokens have the same bytes
    sign = signs()
    words = ["".join(sign[byte] for byte in token) for token in tokenizer.vocab]
    n = 256 + len(tokenizer.merges)
    merges = [[words[left], words[right]] for left, right in tokenizer.merges]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    cut = {
        "type": "Split",
        "pattern": {"Regex": _pattern()},
        "behavior": "Isolated",
        "invert": False,
    }
    before = {"type": "Sequence", "pretokenizers": [cut, level | {"use_regex": False}]}
    vocab = {word: i for i, word in enumerate(words[:n])}
    marks = [
        {"id": i, "content": mark, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for mark, i in tokenizer.special_tokens.items()
    ]  # fmt: skip
    return _file(vocab, merges, before, level | {"use_regex": True}, marks)


def _pattern() -> str:
    """GPT-2's rule in the notation of their engine: other escapes, no minus of sets."""
    escaped = re.sub(r"\\u([0-9a-f]{4})|\\U([0-9a-f]{8})", r"\\x{\1\2}", SPLIT_PATTERN)
    return escaped.replace("--[", "&&[^")


def _file(vocab: dict, merges: list, before: Any, decoder: dict, marks: list) -> dict[str, Any]:
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
        "ignore_merges": False, "vocab": vocab, "merges": merges,
    }  # fmt: skip
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": marks,
        "normalizer": None, "pre_tokenizer": before, "post_processor": None, "decoder": decoder,
        "model": model,
    }  # fmt: skip


def settings(tokenizer: Tokenizer, context_length: int) -> dict[str, Any]:
    """The content of a tokenizer_config.json."""
    told: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    if isinstance(tokenizer, BPETokenizer) and tokenizer.special_tokens:
        mark = next(iter(tokenizer.special_tokens))
        told |= {"eos_token": mark, "bos_token": mark}
    return told
