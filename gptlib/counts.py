"""What a model costs, worked out from its configuration alone, before anything is built.

Built in chapter 9. For the GPT of chapter 6 and the modern one alike: parameters, those that a
token meets, bytes of the cache, operations. So GPT-2 XL can stand beside GPT-OSS.
"""

from __future__ import annotations

from gptlib.given.checks.tensors import check_count
from gptlib.gpt import GPTConfig, non_embedding_parameters, total_parameters
from gptlib.modern import ModernConfig

Config = GPTConfig | ModernConfig


def feed_forward_parameters(config: ModernConfig) -> int:
    """Parameters of one SwiGLU network, or of one expert.

    feed_forward_parameters(ModernConfig.preset("gpt-oss-20b")) -> 24_891_840
    """
    c = config
    return 3 * c.n_embd * c.hidden + (2 * c.hidden + c.n_embd) * c.bias


def block_parameters(config: ModernConfig, experts: int) -> int:
    """Parameters of one block, of whose experts so many are counted."""
    c = config
    heads = c.n_head + 2 * c.n_kv_head
    attention = (heads + c.n_head) * c.head_size * c.n_embd  # qkv and project
    attention += (heads * c.head_size + c.n_embd) * c.bias
    attention += 2 * c.head_size * c.qk_norm + c.n_head * c.sinks
    router = (c.n_embd + c.bias) * c.n_expert if c.n_expert > 1 else 0
    norms = (4 if c.norm == "sandwich" else 2) * c.n_embd
    return attention + router + norms + experts * feed_forward_parameters(c)


def count_parameters(config: Config) -> int:
    """All parameters, tied ones once.

    count_parameters(ModernConfig.preset("gpt-oss-20b")) -> 20_914_757_184
    count_parameters(GPTConfig.preset("gpt2-xl")) -> 1_557_611_200
    """
    if isinstance(config, GPTConfig):
        return total_parameters(config)
    c = config
    tables = (1 if c.tied else 2) * c.vocab_size * c.n_embd
    return tables + c.n_layer * block_parameters(c, c.n_expert) + c.n_embd


def active_parameters(config: Config) -> int:
    """Parameters that one token meets: of the experts those it asks, and of the tables the head.

    Looking up a row of an embedding is no work, so the tables count as the head alone, as they are
    counted in the model card of GPT-OSS.

    active_parameters(ModernConfig.preset("gpt-oss-20b")) -> 3_608_307_264
    active_parameters(GPTConfig.preset("gpt2-xl")) -> 1_555_972_800
    """
    head = config.vocab_size * config.n_embd
    if isinstance(config, GPTConfig):
        return head + non_embedding_parameters(config)
    return head + config.n_layer * block_parameters(config, config.n_active) + config.n_embd


def cache_bytes(config: Config, n_tokens: int, bytes_per_value: int = 2) -> int:
    """Bytes that the keys and values of a text take; 2 a value in bfloat16.

    A layer with a window keeps no more tokens than it sees.

    cache_bytes(GPTConfig.preset("gpt2-xl"), 1) -> 307_200
    cache_bytes(ModernConfig.preset("gpt-oss-20b"), 1) -> 49_152
    cache_bytes(ModernConfig.preset("gpt-oss-20b"), 131_072) -> 3_224_371_200
    """
    check_count(n_tokens=n_tokens, bytes_per_value=bytes_per_value)
    if isinstance(config, GPTConfig):
        kept, width = config.n_layer * n_tokens, config.n_embd
    else:
        kept = sum(min(n_tokens, window or n_tokens) for window in config.windows())
        width = config.n_kv_head * config.head_size
    return 2 * kept * width * bytes_per_value


def forward_flops(config: Config, n_tokens: int) -> int:
    """Floating-point operations for one more token behind a text, n_tokens with itself.

    A weight in a matrix product costs one multiplication and one addition, and each token looked at
    the same for its score and for its value. Norms, gates and turns are left out. For the classic
    GPT at full context it is `flops_per_token` without training.

    forward_flops(GPTConfig.preset("gpt2-small"), 1024) -> 284_812_800
    forward_flops(ModernConfig.preset("gpt-oss-20b"), 1024) -> 7_440_777_216
    """
    check_count(n_tokens=n_tokens)
    if isinstance(config, GPTConfig):
        c = config
        weights = 12 * c.n_layer * c.n_embd**2 + c.vocab_size * c.n_embd
        return 2 * weights + 4 * c.n_layer * n_tokens * c.n_embd
    m = config
    matrices = 2 * (m.n_head + m.n_kv_head) * m.head_size + 3 * m.n_active * m.hidden
    matrices += m.n_expert if m.n_expert > 1 else 0
    weights = m.n_layer * matrices * m.n_embd + m.vocab_size * m.n_embd
    looked_at = sum(min(n_tokens, window or n_tokens) for window in m.windows())
    return 2 * weights + 4 * looked_at * m.n_head * m.head_size
