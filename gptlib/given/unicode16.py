"""Given, not built: what counts as a letter and as a number, as of Unicode 16 (September 2024).

Unicode gains letters every year, and each library follows at its own pace. If every library went
by its own table, the same text would have other tokens after an update. So what is newer than
Unicode 16 is left out here, and a text has the same tokens wherever these two are used; GPT-2's
own tokenizer in tiktoken draws the line at the same place. The notation, a set minus a set, is
understood by Python's `regex` (flag V1) and by Rust's regex alike.
"""

# The letters and numbers of Unicode 17 and 18. A range may span characters that are neither.
_NEWER = (
    r"\u0558\u058b-\u058c\u088f\u0c5c\u0cdc\u208f\u209d-\u209f\ua7ce-\ua7cf\ua7d2\ua7d4"
    r"\ua7dd-\ua7f1\uab6c-\uab6d\U000107bb-\U000107bf\U00010940-\U00010959"
    r"\U00010ec5-\U00010eee\U00011b0a\U00011db0-\U00011df1\U0001246f-\U0001247f"
    r"\U00012550-\U00012686\U00016ea0-\U00016ed3\U00016ff2-\U00016ff6\U000187f8-\U000187ff"
    r"\U00018cd6-\U00018cda\U00018d09-\U000191d2\U0001b123-\U0001b128\U0001b168\U0001d6a6"
    r"\U0001df1f-\U0001df24\U0001df2b-\U0001dfff\U0001e6c0-\U0001e6ff\U0002b73a-\U0002b73f"
    r"\U0002b81e\U0002cea2-\U0002cead\U000323b0-\U0003fc3f"
)

# The commonest stand first, a second time: a character is looked for from left to right.
LETTER = rf"[A-Za-z[\p{{L}}--[{_NEWER}]]]"
NUMBER = rf"[0-9[\p{{N}}--[{_NEWER}]]]"
