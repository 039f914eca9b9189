"""What a learner types into chapters 3 and 4: wrong answers first, as people write them.

TRIES has, by exercise in the order of the chapter, pairs of an answer and a part of the message
that it deserves; RIGHT has what mends it. Code stands as it does in the cell, below `@exercise`;
a value is what is typed into `answer(...)`. `filled` puts answers into a notebook.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

TRIES: dict[str, list[tuple[str, str]]] = {
    "attention.past_average": [
        ("""
def past_average(x):
    rows = []
    for t in range(len(x)):
        rows.append(x[:t].mean(dim=0))
    return torch.stack(rows)
""", "The token itself is left out"),
        ("""
def past_average(x):
    return torch.stack([x[: t + 1].mean() for t in range(len(x))])
""", "One number a token has come out"),
        ("""
def past_average(x):
    result = []
    for t in range(len(x)):
        result.append(x[: t + 1].mean(dim=0))
    return result
""", "It is a list; it should be a tensor."),
    ],
    "attention.causal_mask": [
        ("""
def causal_mask(context_length):
    mask = torch.zeros(context_length, context_length, dtype=torch.bool)
    for i in range(context_length):
        for j in range(context_length):
            mask[i, j] = i <= j
    return mask
""", "The mask is upside down"),
        ("""
def causal_mask(context_length):
    return torch.tril(torch.ones(context_length, context_length))
""", "The triangle is right, and made of numbers."),
        ("""
def causal_mask(context_length):
    return torch.ones(T, T, dtype=torch.bool).tril()
""", "Nothing is called `T` here."),
    ],
    "attention.attention_weights": [
        ("""
def attention_weights(query, key, mask=None):
    scores = query @ key.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return F.softmax(scores, dim=-1)
""", "The scores are not divided by the root of the head size."),
        ("""
def attention_weights(query, key, mask=None):
    scores = query @ key.transpose(-2, -1) / query.size(-1) ** 0.5
    scores = scores.masked_fill(~mask, float("-inf"))
    return F.softmax(scores, dim=-1)
""", "There may be no mask: it is None then"),
        ("""
def attention_weights(query, key, mask=None):
    scores = query @ key.T / query.size(-1) ** 0.5
    if mask is not None:
        scores = scores.masked_fill(mask == 0, float("-inf"))
    return F.softmax(scores, dim=-1)
""", "`.T` turns all axes round"),
    ],
    "attention.Head": [
        ("""
class Head(nn.Module):
    def __init__(self, n_embd, head_size, context_length, dropout=0.0):
        super().__init__()
        self.query = nn.Linear(n_embd, head_size, bias=False)
        self.key = nn.Linear(n_embd, head_size, bias=False)
        self.value = nn.Linear(n_embd, head_size, bias=False)
        self.register_buffer("mask", causal_mask(context_length), persistent=False)

    def weights(self, x):
        return attention_weights(self.query(x), self.key(x), self.mask)

    def forward(self, x):
        return self.weights(x) @ self.value(x)
""", "is the mask cut to the length of the text?"),
        ("""
class Head(nn.Module):
    def __init__(self, n_embd, head_size, context_length, dropout=0.0):
        super().__init__()
        self.query = nn.Linear(n_embd, head_size, bias=False)
        self.key = nn.Linear(n_embd, head_size, bias=False)
        self.value = nn.Linear(n_embd, head_size, bias=False)
        self.mask = causal_mask(context_length)

    def weights(self, x):
        T = x.size(1)
        return attention_weights(self.query(x), self.key(x), self.mask[:T, :T])

    def forward(self, x):
        return self.weights(x) @ self.value(x)
""", "buffer"),
    ],
    "attention.CausalSelfAttention": [
        ("""
class CausalSelfAttention(nn.Module):
    def __init__(
        self, n_embd, n_head, context_length, dropout=0.0, bias=False, qkv_bias=None
    ):
        super().__init__()
        self.n_head = n_head
        qkv_bias = bias if qkv_bias is None else qkv_bias
        self.qkv = nn.Linear(n_embd, 3 * n_embd, bias=qkv_bias)
        self.project = nn.Linear(n_embd, n_embd, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", causal_mask(context_length), persistent=False)

    def split_heads(self, x):
        B, T, C = x.size()
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        shape = (B, self.n_head, T, C // self.n_head)
        return q.reshape(shape), k.reshape(shape), v.reshape(shape)

    def weights(self, x):
        T = x.size(1)
        q, k, v = self.split_heads(x)
        return attention_weights(q, k, self.mask[:T, :T])

    def forward(self, x):
        B, T, C = x.size()
        out = self.weights(x) @ self.split_heads(x)[2]
        return self.dropout(self.project(out.transpose(1, 2).reshape(B, T, C)))
""", "The shape is right and the heads are mixed up"),
        ("""
class CausalSelfAttention(nn.Module):
    def __init__(
        self, n_embd, n_head, context_length, dropout=0.0, bias=False, qkv_bias=None
    ):
        super().__init__()
        self.n_head = n_head
        qkv_bias = bias if qkv_bias is None else qkv_bias
        self.qkv = nn.Linear(n_embd, 3 * n_embd, bias=qkv_bias)
        self.project = nn.Linear(n_embd, n_embd, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", causal_mask(context_length), persistent=False)

    def split_heads(self, x):
        B, T, C = x.size()
        shape = (B, T, self.n_head, C // self.n_head)
        return [part.view(shape).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)]

    def weights(self, x):
        T = x.size(1)
        q, k, v = self.split_heads(x)
        return attention_weights(q, k, self.mask[:T, :T])

    def forward(self, x):
        B, T, C = x.size()
        out = self.weights(x) @ self.split_heads(x)[2]
        return self.dropout(self.project(out.reshape(B, T, C)))
""", "The way back has the right shape and mixed numbers"),
    ],
    "attention.two_scores": [
        ("(0.75, 0.75, 0.857)", "twice the score is not twice its exponential"),
        ("(0.75, 0.5, 0.9)", "their difference is what it was"),
        ("(0.75, 0.7, 0.9)", "of the 3 values, number 2 is not right"),
    ],
    "attention.layer_count": [
        ("(3 * 768**2, 12 * 1024**2)", "the projection, which combines the heads, is missing"),
        ("4 * 768**2", "2 values in brackets are asked for"),
    ],
    "attention.two_colours": [
        ("(0.5, 0.5)", "The other words are left out."),
        ("(0.8, 0.8)", "The weights of a row sum to 1, so the two must share."),
    ],
    "attention.late_mask": [
        ("""
def late_mask(query, key, mask):
    scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5
    scores = scores.masked_fill(~mask, 0.0)
    return torch.softmax(scores, dim=-1)
""", "The hidden scores are 0 now, and that is an ordinary score"),
        ("""
def late_mask(query, key, mask):
    scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5
    weights = torch.softmax(scores, dim=-1)
    weights = weights.masked_fill(~mask, float("-inf"))
    return torch.softmax(weights, dim=-1)
""", "the second softmax makes them nearly equal"),
    ],
    "attention.join_heads": [
        ("""
def join_heads(heads):
    B, n_head, T, hs = heads.size()
    return heads.reshape(B, n_head * hs, T).transpose(1, 2)
""", "a row still holds numbers of several tokens"),
        ("""
def join_heads(heads):
    B, n_head, T, hs = heads.size()
    return heads.transpose(1, 2).view(B, T, n_head * hs)
""", "exchanging axes moves none of them"),
    ],
    "attention.shapes": [
        ("((8, 32, 180), (8, 32, 4, 15), (8, 4, 32, 32), (8, 32, 60))",
         "its axis stands before time"),
        ("((8, 32, 60), (8, 4, 32, 15), (8, 4, 32, 32), (8, 32, 60))",
         "qkv makes three vectors of each token"),
    ],
    "attention.spread": [
        ("100.0", "that is the variance of the scores"),
        ("1.0", "This is the spread after the division"),
    ],
    "attention.window_mask": [
        ("""
def window_mask(context_length, window):
    i = torch.arange(context_length)
    back = i[:, None] - i
    return (back >= 0) & (back <= window)
""", "One token too many"),
        ("""
def window_mask(context_length, window):
    i = torch.arange(context_length)
    return (i[:, None] - i).abs() < window
""", "The window reaches forward as well"),
    ],
    "layers.row_statistics": [
        ("""
def row_statistics(x):
    return x.mean(dim=-1, keepdim=True), x.var(dim=-1, keepdim=True)
""", "The variance divides by C - 1"),
        ("""
def row_statistics(x):
    return x.mean(dim=-1), x.var(dim=-1, unbiased=False)
""", "The numbers are right, and their axis is gone"),
    ],
    "layers.layer_norm": [
        ("""
def layer_norm(x, weight=None, bias=None, eps=1e-5):
    mean = x.mean(dim=-1, keepdim=True)
    std = x.std(dim=-1, keepdim=True)
    return (x - mean) / (std + eps) * weight + bias
""", "torch's standard deviation plus 1e-5"),
        ("""
def layer_norm(x, weight=None, bias=None, eps=1e-5):
    mean, var = row_statistics(x)
    return (x - mean) / (var.sqrt() + eps) * weight + bias
""", "The small number 1e-5 stands outside the root"),
        ("""
def layer_norm(x, weight=None, bias=None, eps=1e-5):
    mean, var = row_statistics(x)
    return (x - mean) / torch.sqrt(var + eps) * weight + bias
""", "Something is None here: an argument that may be left out and was"),
    ],
    "layers.LayerNorm": [
        ("""
class LayerNorm(nn.Module):
    def __init__(self, n_embd, bias=True, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.bias = nn.Parameter(torch.zeros(n_embd)) if bias else None

    def forward(self, x):
        return layer_norm(x, self.weight, self.bias, eps)
""", "Keep it there, as `self.eps = eps`"),
        ("""
class LayerNorm(nn.Module):
    def __init__(self, n_embd, bias=True, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.bias = nn.Parameter(torch.zeros(n_embd)) if bias else None

    def forward(self, x):
        return layer_norm(x, self.weight, self.bias)
""", "eps is taken and not used"),
        ("""
class LayerNorm(nn.Module):
    def __init__(self, n_embd, bias=True, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = torch.ones(n_embd)
        self.bias = torch.zeros(n_embd) if bias else None

    def forward(self, x):
        return layer_norm(x, self.weight, self.bias, self.eps)
""", "has no parameter bias of shape (3,). Is it an nn.Parameter"),
    ],
    "layers.gelu": [
        ("""
def gelu(x, approximate="tanh"):
    if approximate == "none":
        return x * (1 + torch.erf(x / math.sqrt(2)))
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
""", "The half is missing"),
        ("""
def gelu(x, approximate="tanh"):
    if approximate == "none":
        return 0.5 * x * (1 + torch.erf(x))
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
""", "In the definition x is not divided by the root of 2"),
        ("""
def gelu(x, approximate="tanh"):
    if approximate == "none":
        return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
""", "For a tensor of many, torch has functions of the same names."),
    ],
    "layers.FeedForward": [
        ("""
class FeedForward(nn.Module):
    def __init__(self, n_embd, dropout=0.0, bias=True, expansion=4, gelu="tanh"):
        super().__init__()
        self.expand = nn.Linear(n_embd, expansion * n_embd, bias=bias)
        self.gelu = GELU(gelu)
        self.project = nn.Linear(expansion * n_embd, n_embd, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.project(self.dropout(self.gelu(self.expand(x))))
""", "Dropout drops numbers between the matrices."),
        ("""
class FeedForward(nn.Module):
    def __init__(self, n_embd, dropout=0.0, bias=True, expansion=4, gelu="tanh"):
        super().__init__()
        self.expand = nn.Linear(n_embd, expansion * n_embd, bias=bias)
        self.gelu = nn.GELU()
        self.project = nn.Linear(expansion * n_embd, n_embd, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.dropout(self.project(self.gelu(self.expand(x))))
""", "The bend is the other form of GELU."),
    ],
    "layers.row_by_hand": [
        ("(2, 1, 1)", "The variance divides by two"),
        ("(2.0, 0.816, 1.225)", "it is the standard deviation"),
    ],
    "layers.feed_forward_count": [
        ("(12 * 8 * 768**2, 25 * 2 * 768)", "The biases of the networks are missing"),
        ("(12 * (8 * 768**2 + 5 * 768), 24 * 2 * 768)", "The norm at the end is missing."),
    ],
    "layers.rms_norm": [
        ("""
def rms_norm(x, weight=None, eps=1e-5):
    x = x / x.norm(dim=-1, keepdim=True)
    return x if weight is None else x * weight
""", "divided by its length, `norm`"),
        ("""
def rms_norm(x, weight=None, eps=1e-5):
    x = x / torch.sqrt(x.var(dim=-1, keepdim=True, unbiased=False) + eps)
    return x if weight is None else x * weight
""", "The row is divided by its standard deviation"),
    ],
    "layers.layer_norm_short": [
        ("""
def layer_norm_short(x):
    mean = x.mean(dim=0)
    var = x.var(dim=0, unbiased=False)
    return (x - mean) / torch.sqrt(var + 1e-5)
""", "gives mean 0 to each column"),
        ("""
def layer_norm_short(x):
    mean = x.mean(dim=-1, keepdim=True)
    var = x.var(dim=-1, unbiased=False)
    return (x - mean) / torch.sqrt(var + 1e-5)
""", "The variances still divide columns."),
    ],
    "layers.bend_gain": [
        ("2.0", "take its root"),
        ("0.71", "This is what is left of the size"),
    ],
    "layers.silent_units": [
        ("""
def silent_units(x):
    return (x <= 0).all(dim=1).sum()
""", "A unit is counted once for each text"),
        ("""
def silent_units(x):
    return (x <= 0).all(dim=0).all(dim=0)
""", "How many are asked for: add them up."),
    ],
}  # fmt: skip

RIGHT: dict[str, str] = {
    "attention.past_average": """
def past_average(x):
    return torch.stack([x[: t + 1].mean(dim=0) for t in range(len(x))])
""",
    "attention.causal_mask": """
def causal_mask(context_length):
    i = torch.arange(context_length)
    return i[:, None] >= i
""",
    "attention.attention_weights": """
def attention_weights(query, key, mask=None):
    scores = query @ key.transpose(-2, -1) / query.size(-1) ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return F.softmax(scores, dim=-1)
""",
    "attention.Head": TRIES["attention.Head"][0][0].replace(
        "self.mask)", "self.mask[: x.size(1), : x.size(1)])"
    ),
    "attention.CausalSelfAttention": TRIES["attention.CausalSelfAttention"][1][0].replace(
        "out.reshape", "out.transpose(1, 2).reshape"
    ),
    "attention.two_scores": "(0.75, 0.75, 0.9)",
    "attention.layer_count": "(4 * 768**2, 12 * 1024**2)",
    "attention.two_colours": "(0.45, 0.45)",
    "attention.late_mask": """
def late_mask(query, key, mask):
    scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5
    scores = scores.masked_fill(~mask, float("-inf"))
    return torch.softmax(scores, dim=-1)
""",
    "attention.join_heads": """
def join_heads(heads):
    B, n_head, T, hs = heads.size()
    return heads.transpose(1, 2).reshape(B, T, n_head * hs)
""",
    "attention.shapes": "((8, 32, 180), (8, 4, 32, 15), (8, 4, 32, 32), (8, 32, 60))",
    "attention.spread": "10.1",
    "attention.window_mask": """
def window_mask(context_length, window):
    i = torch.arange(context_length)
    back = i[:, None] - i
    return (back >= 0) & (back < window)
""",
    "layers.row_statistics": """
def row_statistics(x):
    return x.mean(dim=-1, keepdim=True), x.var(dim=-1, keepdim=True, unbiased=False)
""",
    "layers.layer_norm": """
def layer_norm(x, weight=None, bias=None, eps=1e-5):
    mean, var = row_statistics(x)
    x = (x - mean) / torch.sqrt(var + eps)
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias
""",
    "layers.LayerNorm": """
class LayerNorm(nn.Module):
    def __init__(self, n_embd, bias=True, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.bias = nn.Parameter(torch.zeros(n_embd)) if bias else None

    def forward(self, x):
        return layer_norm(x, self.weight, self.bias, self.eps)
""",
    "layers.gelu": """
def gelu(x, approximate="tanh"):
    if approximate == "none":
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
""",
    "layers.FeedForward": TRIES["layers.FeedForward"][1][0].replace("nn.GELU()", "GELU(gelu)"),
    "layers.row_by_hand": "(2, 0.667, 1.225)",
    "layers.feed_forward_count": "(12 * (8 * 768**2 + 5 * 768), 25 * 2 * 768)",
    "layers.rms_norm": """
def rms_norm(x, weight=None, eps=1e-5):
    x = x / torch.sqrt((x**2).mean(dim=-1, keepdim=True) + eps)
    return x if weight is None else x * weight
""",
    "layers.layer_norm_short": """
def layer_norm_short(x):
    mean = x.mean(dim=-1, keepdim=True)
    var = x.var(dim=-1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(var + 1e-5)
""",
    "layers.bend_gain": "1.41",
    "layers.silent_units": """
def silent_units(x):
    return int((x <= 0).all(dim=0).all(dim=0).sum())
""",
}  # fmt: skip


def asked_by(source: str) -> str:
    """The exercise that a cell asks for, or nothing.

    asked_by('answer("attention.spread", ...)') -> 'attention.spread'
    """
    found = re.search(r'^(?:@exercise|answer)\("([\w.]+)"', source, re.MULTILINE)
    return found[1] if found else ""


def typed(source: str, answer: str) -> str:
    """A cell of a notebook with an answer in the place of what it holds."""
    if source.startswith("answer("):
        return source.replace("...", answer, 1)
    above, decorator, _ = re.split(r"(^@exercise\(.*\n)", source, maxsplit=1, flags=re.MULTILINE)
    return f"{above}{decorator}{answer.strip()}"


def filled(notebook: Any, answers: Mapping[str, str]) -> Any:
    """The same notebook, with these answers in its cells. Errors: KeyError where one has none."""
    left = dict(answers)
    for cell in notebook.cells:
        if cell.cell_type == "code" and (name := asked_by(cell.source)) in left:
            cell.source = typed(cell.source, left.pop(name))
    if left:
        raise KeyError(f"the notebook does not ask for {', '.join(left)}")
    return notebook
