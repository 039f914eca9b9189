"""The whole GPT: embeddings, a stack of blocks, a last norm and the output head.

Built in chapter 6. The second half of the module counts: parameters, operations and memory of a
configuration, before anything is built.

Tensor letters: B sequences, T tokens, C = n_embd numbers a token, V tokens in the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gptlib.block import NORM_PLACES, TransformerBlock
from gptlib.given.checks.tensors import (
    check_choice,
    check_count,
    check_dropout,
    check_flags,
    check_heads,
    check_idx,
)
from gptlib.layers import GELU_FORMS, LayerNorm
from gptlib.loss import next_token_loss

PRESETS: dict[str, dict[str, Any]] = {
    # A. Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, table 2.
    "gpt2-small": {},
    "gpt2-medium": {"n_layer": 24, "n_head": 16, "n_embd": 1024},
    "gpt2-large": {"n_layer": 36, "n_head": 20, "n_embd": 1280},
    "gpt2-xl": {"n_layer": 48, "n_head": 25, "n_embd": 1600},
    # The lecture's model: a head of its own, no biases in query, key and value.
    "lecture-124m": {"dropout": 0.1, "qkv_bias": False, "tied": False, "init": "torch"},
    # nanoGPT's recipe for a laptop: characters of Tiny Shakespeare, no biases, the exact GELU.
    "nanogpt-cpu": {
        "vocab_size": 65, "context_length": 64, "n_layer": 4, "n_head": 4, "n_embd": 128,
        "bias": False, "gelu": "none",
    },
    # The course's own model: small, so that two minutes on two CPU cores are many steps.
    "stories": {
        "vocab_size": 1536, "context_length": 128, "n_layer": 4, "n_head": 4, "n_embd": 64,
        "bias": False, "gelu": "none", "waves": True,
    },
}  # fmt: skip


@dataclass(frozen=True)
class GPTConfig:
    """Everything that decides the shape of a GPT; the defaults are GPT-2 small.

    bias: in every linear layer of a block and in the norms. qkv_bias: in query, key and value, if
    they are to differ; None means as bias. tied: the head uses the token embedding's weights.
    norm: "pre" or "post". init: "gpt2" (normal, 0.02) or "torch" (each layer's default). gelu:
    "tanh" (GPT-2's formula) or "none" (no approximation; quicker on a CPU). waves: the learned
    positions begin as sines and cosines, not at random.

    Built in chapter 6.

    GPTConfig.preset("stories", n_layer=2).n_layer -> 2
    """

    vocab_size: int = 50257
    context_length: int = 1024
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = True
    qkv_bias: bool | None = None
    tied: bool = True
    norm: str = "pre"
    init: str = "gpt2"
    waves: bool = False
    gelu: str = "tanh"

    def __post_init__(self) -> None:
        check_count(
            vocab_size=self.vocab_size, context_length=self.context_length, n_layer=self.n_layer
        )
        check_heads(self.n_embd, self.n_head)
        check_dropout(self.dropout)
        check_flags(self)
        check_choice("norm", self.norm, NORM_PLACES)
        check_choice("init", self.init, ("gpt2", "torch"))
        check_choice("gelu", self.gelu, GELU_FORMS)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> GPTConfig:
        """A configuration by name, with single fields changed where wanted."""
        check_choice("name", name, PRESETS)
        return cls(**{**PRESETS[name], **changes})


class GPT(nn.Module):
    """The language model of chapters 6 to 8.

    idx (B, T) -> logits (B, T, V), and the loss in nats per token if targets (B, T) are given,
    otherwise None. A target of -1 is not scored.

    Errors: ValueError for an idx that is empty, no whole numbers or longer than context_length. Ids
    are not looked at, so that a GPU need not be waited for; `get_batch` and `generate` look.
    GPT(GPTConfig()) has 124,439,808 parameters and starts at a loss near ln 50257 = 10.82.
    Built in chapter 6.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        c = self.config = config
        self.token_embedding = nn.Embedding(c.vocab_size, c.n_embd)
        self.position_embedding = nn.Embedding(c.context_length, c.n_embd)
        self.dropout = nn.Dropout(c.dropout)
        options: dict[str, Any]
        options = {
            "bias": c.bias,
            "qkv_bias": c.qkv_bias,
            "norm": c.norm,
            "gelu": c.gelu,
        }
        self.blocks = nn.ModuleList(
            TransformerBlock(c.n_embd, c.n_head, c.context_length, c.dropout, **options)
            for _ in range(c.n_layer)
        )
        # A post-norm block ends with a norm already.
        self.final_norm = LayerNorm(c.n_embd, c.bias) if c.norm == "pre" else nn.Identity()
        self.head = nn.Linear(c.n_embd, c.vocab_size, bias=False)
        if c.tied:
            self.head.weight = self.token_embedding.weight
        if c.init == "gpt2":
            init_gpt2(self)
        if c.waves:
            start = 0.08 * waves(c.context_length, c.n_embd)  # (T, C)
            self.position_embedding.weight.data.copy_(start)

    def forward(
        self, idx: torch.Tensor, targets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        check_idx(idx, self.config.context_length)
        tokens = self.token_embedding(idx)  # (B, T, C)
        positions = self.position_embedding(torch.arange(idx.size(1), device=idx.device))  # (T, C)
        x = self.dropout(tokens + positions)  # (B, T, C): each sequence gets the same positions
        for block in self.blocks:
            x = block(x)  # (B, T, C)
        logits = self.head(self.final_norm(x))  # (B, T, V)
        loss = None if targets is None else next_token_loss(logits, targets)
        return logits, loss

    def num_parameters(self, embeddings: bool = True) -> int:
        """Parameters, tied ones once; embeddings=False leaves out embeddings and head."""
        if embeddings:
            return sum(p.numel() for p in self.parameters())
        parts = (self.blocks, self.final_norm)
        return sum(p.numel() for part in parts for p in part.parameters())


def init_gpt2(model: GPT) -> None:
    """Start like GPT-2: weights from N(0, 0.02), biases 0, residual projections smaller.

    Each of the 2 · n_layer projections back into the residual stream adds its variance to it;
    scaled by 1 / sqrt(2 · n_layer) the sum stays the same however deep the model is.
    """
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() == 2:
            into_residual = name.endswith("project.weight")
            scale = (2 * model.config.n_layer) ** -0.5 if into_residual else 1.0
            nn.init.normal_(parameter, mean=0.0, std=0.02 * scale)


def waves(context_length: int, n_embd: int) -> torch.Tensor:
    """Sines and cosines of slower and slower waves: (T, C), entries from -1 to 1.

    From one place to the next, everywhere, lies the same turn: a head that has learned to look one
    token back in one place can do it in all. From random positions each place is learned alone.
    After A. Vaswani et al., 2017, section 3.5, with waves for short texts (1000, not 10000).

    The second row is sin 1, cos 1, sin 0.0316, cos 0.0316.

    waves(2, 4) -> [[0, 1, 0, 1], [0.8415, 0.5403, 0.03162, 0.9995]]
    """
    pairs = (n_embd + 1) // 2
    places = torch.arange(context_length)[:, None]  # (T, 1)
    speeds = 1000 ** (-torch.arange(pairs) / pairs)  # (C / 2)
    angles = places * speeds  # (T, C / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :n_embd]  # (T, C)


def non_embedding_parameters(config: GPTConfig) -> int:
    """Parameters of the blocks and the last norm: 12·L·d² + 13·L·d + 2·d with all biases.

    non_embedding_parameters(GPTConfig(n_layer=6, n_embd=512, n_head=8)) -> 18_915_328  # Pythia 70M
    """
    d, bias = config.n_embd, int(config.bias)
    qkv_bias = bias if config.qkv_bias is None else int(config.qkv_bias)
    attention = 4 * d * d + 3 * d * qkv_bias + d * bias
    feed_forward = 8 * d * d + 5 * d * bias
    norm = d + d * bias
    final_norm = norm if config.norm == "pre" else 0
    return config.n_layer * (attention + feed_forward + 2 * norm) + final_norm


def total_parameters(config: GPTConfig) -> int:
    """All parameters, the head's too unless it is tied.

    total_parameters(GPTConfig.preset("gpt2-small")) -> 124_439_808
    """
    embeddings = (config.vocab_size + config.context_length) * config.n_embd
    head = 0 if config.tied else config.vocab_size * config.n_embd
    return embeddings + head + non_embedding_parameters(config)


def parameter_bytes(config: GPTConfig, bytes_per_value: int = 4) -> int:
    """Bytes the weights take; 4 a value in float32.

    parameter_bytes(GPTConfig.preset("lecture-124m")) -> 652_038_144  # 621.83 MiB
    """
    return bytes_per_value * total_parameters(config)


def flops_per_token(config: GPTConfig, training: bool = True) -> int:
    """Floating-point operations a token costs at full context, forward and backward.

    A weight in a matrix product costs one multiplication and one addition; attention's scores and
    sums cost 4·T·d a layer more; the backward pass takes twice the forward pass. Norms and
    activations are left out. Source: J. Kaplan et al., "Scaling Laws for Neural Language Models",
    2020, section 2.1.

    flops_per_token(GPTConfig.preset("gpt2-small")) -> 854_438_400
    flops_per_token(GPTConfig.preset("gpt2-small"), training=False) -> 284_812_800
    """
    d = config.n_embd
    weights = 12 * config.n_layer * d * d + config.vocab_size * d
    attention = 4 * config.n_layer * config.context_length * d
    forward = 2 * weights + attention
    return 3 * forward if training else forward


def training_memory(config: GPTConfig, batch_size: int, bytes_per_value: int = 4) -> dict[str, int]:
    """Bytes that training takes, by part: weights, gradients, AdamW's two averages, activations.

    Activations are what the forward pass keeps for the backward pass at full context: an estimate
    for fused attention, pre-norm and no dropout.

    training_memory(GPTConfig.preset("stories"), batch_size=4)["weights"] -> 1_214_720
    training_memory(GPTConfig.preset("stories"), batch_size=4)["activations"] -> 14_942_208
    """
    check_count(batch_size=batch_size)
    d, weights = config.n_embd, parameter_bytes(config, bytes_per_value)
    # Kept in a block, in units of d: the inputs of the first norm and of qkv (1 + 1), q, k, v and
    # attention's result (4), the inputs of the second norm, expand, GELU, project (1 + 1 + 4 + 4).
    # After the blocks: the inputs of the last norm and the head, the logits and their log-softmax.
    per_token = 16 * config.n_layer * d + 2 * d + 2 * config.vocab_size
    tokens = batch_size * config.context_length
    return {
        "weights": weights,
        "gradients": weights,
        "optimizer": 2 * weights,
        "activations": bytes_per_value * per_token * tokens,
    }
