"""A modern GPT: RMSNorm, RoPE, grouped queries, SwiGLU or experts, no biases, soft-capped logits.

Built in chapter 9. A model of its own with a config of its own, made of the parts of this chapter;
what it costs, `gptlib.counts` works out.

Tensor letters: B sequences, T tokens, C = n_embd numbers a token, V tokens in the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gptlib.cache import Cache, LayerCache
from gptlib.experts import Experts, Routing, balance_loss, check_experts
from gptlib.given.checks.tensors import check_choice, check_count, check_flags, check_idx
from gptlib.grouped import GroupedAttention, check_grouped
from gptlib.loss import next_token_loss
from gptlib.rms_norm import RMSNorm
from gptlib.rope import Rope, check_rope
from gptlib.soft_cap import soft_cap
from gptlib.swiglu import GATES, SwiGLU

# The models of others are here to be counted; their tokenizers and weights are not.
MODERN_PRESETS: dict[str, dict[str, Any]] = {
    # As deep and as wide as the course's own GPT, and no more parameters.
    "stories": {
        "vocab_size": 1536, "context_length": 128, "n_layer": 4, "n_head": 4, "n_kv_head": 2,
        "n_embd": 64, "head_size": 16, "hidden": 168,
    },
    # The same with eight experts of half the width, of which a token asks two.
    "stories-experts": {
        "vocab_size": 1536, "context_length": 128, "n_layer": 4, "n_head": 4, "n_kv_head": 2,
        "n_embd": 64, "head_size": 16, "hidden": 84, "n_expert": 8, "n_active": 2, "capacity": 1.25,
    },
    # A. Grattafiori et al., "The Llama 3 Herd of Models", 2024, table 3.
    "llama3-8b": {
        "vocab_size": 128256, "context_length": 8192, "n_layer": 32, "n_head": 32, "n_kv_head": 8,
        "n_embd": 4096, "head_size": 128, "hidden": 14336, "tied": False, "qk_norm": False,
        "rope_base": 5e5, "logit_cap": None,
    },
    # A. Jiang et al., "Mixtral of Experts", 2024, table 1.
    "mixtral-8x7b": {
        "vocab_size": 32000, "context_length": 32768, "n_layer": 32, "n_head": 32, "n_kv_head": 8,
        "n_embd": 4096, "head_size": 128, "hidden": 14336, "tied": False, "qk_norm": False,
        "rope_base": 1e6, "logit_cap": None, "n_expert": 8, "n_active": 2,
    },
    # Gemma Team, "Gemma 2", 2024, table 1.
    "gemma2-2b": {
        "vocab_size": 256000, "context_length": 8192, "n_layer": 26, "n_head": 8, "n_kv_head": 4,
        "n_embd": 2304, "head_size": 256, "hidden": 9216, "gating": "geglu", "norm": "sandwich",
        "qk_norm": False, "window": 4096, "full_every": 2, "score_cap": 50.0, "logit_cap": 30.0,
    },
    # A. Yang et al., "Qwen3 Technical Report", 2025, table 1.
    "qwen3-0.6b": {
        "vocab_size": 151936, "context_length": 40960, "n_layer": 28, "n_head": 16, "n_kv_head": 8,
        "n_embd": 1024, "head_size": 128, "hidden": 3072, "rope_base": 1e6, "logit_cap": None,
    },
    # OpenAI, "gpt-oss-120b & gpt-oss-20b Model Card", 2025, section 2.
    "gpt-oss-20b": {
        "vocab_size": 201088, "context_length": 131072, "n_layer": 24, "n_head": 64,
        "n_kv_head": 8, "n_embd": 2880, "head_size": 64, "hidden": 2880, "bias": True,
        "tied": False, "gating": "clipped", "qk_norm": False, "rope_base": 1.5e5, "window": 128,
        "full_every": 2, "sinks": True, "logit_cap": None, "n_expert": 32, "n_active": 4,
    },
}  # fmt: skip
MODERN_PRESETS["gpt-oss-120b"] = MODERN_PRESETS["gpt-oss-20b"] | {"n_layer": 36, "n_expert": 128}


@dataclass(frozen=True)
class Sizes:
    """The numbers of a `ModernConfig`; the defaults are as wide as GPT-2 small.

    context_length is the longest text; no weight depends on it, so the same weights may be given a
    longer one. hidden: inside a feed-forward network, or inside each expert.
    """

    vocab_size: int = 50257
    context_length: int = 1024
    n_layer: int = 12
    n_head: int = 12
    n_kv_head: int = 4
    n_embd: int = 768
    head_size: int = 64
    hidden: int = 2048


@dataclass(frozen=True)
class ModernConfig(Sizes):
    """Everything that decides the shape of a `ModernGPT`: `Sizes`, and what the parts are.

    norm: "pre", or "sandwich" with a second norm behind each part. gating: see `SwiGLU`. window:
    how many tokens a layer sees; every full_every-th layer sees all, None: none does. score_cap,
    logit_cap: see `soft_cap`. n_expert above 1: `Experts`, with n_active and capacity. balance: how
    much their `balance_loss` counts in training.

    Errors: ValueError that names the field. Built in chapter 9.

    ModernConfig.preset("gpt-oss-20b").windows()[:3] -> [128, None, 128]
    """

    bias: bool = False
    tied: bool = True
    norm: str = "pre"
    gating: str = "swiglu"
    qk_norm: bool = True
    rope_base: float = 10_000.0
    window: int | None = None
    full_every: int | None = None
    sinks: bool = False
    score_cap: float | None = None
    logit_cap: float | None = 30.0
    n_expert: int = 1
    n_active: int = 1
    capacity: float | None = None
    balance: float = 0.01

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "n_layer", "n_embd", "hidden"):
            check_count(**{name: getattr(self, name)})
        check_count(full_every=1 if self.full_every is None else self.full_every)
        caps = {"score_cap": self.score_cap, "logit_cap": self.logit_cap}
        check_grouped(self.n_head, self.n_kv_head, self.window, **caps)
        check_rope(self.head_size, self.rope_base)
        check_experts(self.n_expert, self.n_active, self.capacity, self.balance)
        check_flags(self)
        check_choice("norm", self.norm, ("pre", "sandwich"))
        check_choice("gating", self.gating, GATES)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> ModernConfig:
        """A configuration by name, with single fields changed where wanted."""
        check_choice("name", name, MODERN_PRESETS)
        return cls(**{**MODERN_PRESETS[name], **changes})

    def windows(self) -> list[int | None]:
        """How many tokens each layer sees, None for all: one entry a layer."""
        every = self.full_every or self.n_layer + 1
        return [None if (n + 1) % every == 0 else self.window for n in range(self.n_layer)]


class ModernBlock(nn.Module):
    """Attention, then SwiGLU or experts, each with norm and shortcut; (B, T, C) stays.

    "pre": x + f(norm(x)). "sandwich": x + norm(f(norm(x))), so that no part adds more than its norm
    lets it. Built in chapter 9.
    """

    def __init__(self, config: ModernConfig, rope: Rope, window: int | None = None):
        super().__init__()
        c = config
        self.attention = GroupedAttention(
            c.n_embd, c.n_head, c.n_kv_head, c.head_size, c.bias, rope, c.qk_norm, window,
            c.score_cap, c.sinks,
        )  # fmt: skip
        sizes = (c.n_embd, c.hidden)
        self.feed_forward = (
            Experts(*sizes, c.n_expert, c.n_active, c.capacity, c.bias, c.gating)
            if c.n_expert > 1
            else SwiGLU(*sizes, c.bias, c.gating)
        )
        self.norm_1, self.norm_2 = RMSNorm(c.n_embd), RMSNorm(c.n_embd)
        sandwich = c.norm == "sandwich"
        self.after_1 = RMSNorm(c.n_embd) if sandwich else nn.Identity()
        self.after_2 = RMSNorm(c.n_embd) if sandwich else nn.Identity()

    def forward(
        self,
        x: torch.Tensor,
        kept: LayerCache | None = None,
        routes: list[Routing] | None = None,
    ) -> torch.Tensor:
        x = x + self.after_1(self.attention(self.norm_1(x), kept))
        routed = (routes,) if isinstance(self.feed_forward, Experts) else ()
        return x + self.after_2(self.feed_forward(self.norm_2(x), *routed))


class ModernGPT(nn.Module):
    """The language model of chapter 9, asked like the one of chapter 6.

    idx (B, T) -> logits (B, T, V), and the loss in nats per token if targets (B, T) are given,
    otherwise None. In training balance times the layers' mean `balance_loss` is added to it.
    cache: idx holds new tokens alone, and the cache what was read before. routes: a list that gets
    one `Routing` a layer of experts.

    Errors: ValueError for an idx that is empty, no whole numbers or too long for context_length.
    ModernGPT(ModernConfig()) has 114,115,584 parameters. Built in chapter 9.
    """

    def __init__(self, config: ModernConfig):
        super().__init__()
        c = self.config = config
        self.token_embedding = nn.Embedding(c.vocab_size, c.n_embd)
        rope = Rope(c.head_size, c.context_length, c.rope_base)  # one for all
        self.blocks = nn.ModuleList(ModernBlock(c, rope, window) for window in c.windows())
        self.final_norm = RMSNorm(c.n_embd)
        self.head = nn.Linear(c.n_embd, c.vocab_size, bias=False)
        if c.tied:
            self.head.weight = self.token_embedding.weight
        init_modern(self)

    def new_cache(self, padding: torch.Tensor | None = None) -> Cache:
        """An empty cache for this model; padding as in `Cache`."""
        return Cache(self.config.windows(), padding)

    def forward(
        self,
        idx: torch.Tensor,
        targets: torch.Tensor | None = None,
        cache: Cache | None = None,
        routes: list[Routing] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        check_idx(idx, self.config.context_length)
        asked: list[Routing] = []  # one a layer of experts
        kept = [None] * len(self.blocks) if cache is None else cache.layers
        x = self.token_embedding(idx)  # (B, T, C)
        for block, layer in zip(self.blocks, kept, strict=True):
            x = block(x, layer, asked)  # (B, T, C)
        logits = soft_cap(self.head(self.final_norm(x)), self.config.logit_cap)  # (B, T, V)
        loss = None if targets is None else next_token_loss(logits, targets)
        if loss is not None and self.training and asked:
            loss = loss + self.config.balance * sum(map(balance_loss, asked)) / len(asked)
        if routes is not None:
            routes.extend(asked)
        return logits, loss

    def num_parameters(self, embeddings: bool = True) -> int:
        """Parameters, tied ones once; embeddings=False leaves out embedding and head."""
        if embeddings:
            return sum(p.numel() for p in self.parameters())
        parts = (self.blocks, self.final_norm)
        return sum(p.numel() for part in parts for p in part.parameters())


def init_modern(model: ModernGPT) -> None:
    """Start so that every matrix hands on what it gets, and every block hands on what came in.

    A sum of n_in products of numbers near 1 spreads like sqrt(n_in), so the weights come from
    N(0, 1 / n_in), the tables' too. GPT-2's 0.02 is that for n_in = 2500, and small for a narrow
    model. Projections into the residual stream start at 0: no token is drowned by blocks that know
    nothing yet. The logits then have a variance of 1; untied, the first loss is near ln V + 1/2.
    Tied, each token begins by expecting itself, with a logit of sqrt(C): quickly unlearned where C
    is small, a bad start where it is large. `init_gpt2` of chapter 6 fits here too, to compare.
    """
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "project.weight", "project_weight")):
            nn.init.zeros_(parameter)
        elif parameter.dim() >= 2:
            nn.init.normal_(parameter, std=parameter.size(-1) ** -0.5)
