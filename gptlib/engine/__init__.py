"""Train for real: a text of your own made ready, a run that survives, and folders that others read.

Given, not built. In three lines:

    prepare(["my_texts/"], "data/mine", tokenizer="bpe", vocab_size=2048)
    learn("data/mine", "runs/mine", preset="modern")
    print(Writer("runs/mine").text("Once", 100))
"""
