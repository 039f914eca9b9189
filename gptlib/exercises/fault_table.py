"""The table of the bug foundry: what can be wrong, in words, and the lines that make it so.

Given, not built. An edit is a part of the program, the text that stands in it once, and the text
that the patient has there instead.
"""

from __future__ import annotations

from dataclasses import dataclass

Edit = tuple[str, str, str]

ATTEND = "is_causal=True)"
DRAWN = "generator=self.generator)\n        return windows(ids, starts[chosen])"
SIZES = "RECIPE.batch_size,), generator=self.generator"
BETAS = 'TrainConfig.preset("stories", batch_size=32, steps=200'
SHAPE = 'GPTConfig.preset("stories", context_length=16'
RATE = "learning_rate(step, RECIPE)"
SCORE = "return next_token_loss(logits, y)"
PROGRAM = "exercises.program"
SORT = """ids, starts = train
        order = sorted(range(len(starts)), key=lambda i: ids[starts[i] : starts[i] + 9].tolist())
        self.train, self.val = (ids, starts[order{way}]), val"""
IN_TURN = """chosen = torch.arange((step - 1) * 32, step * 32) % len(starts)
        return windows(ids, starts[chosen])"""
CHOSEN = """chosen = torch.randint(len(starts), (RECIPE.batch_size,), generator=self.generator)
        return windows(ids, starts[chosen])"""
GARBAGE = """generator=self.generator)
        if step == {step}:
            return (torch.randint(1536, (32, 16), generator=self.generator),) * 2
        return windows(ids, starts[chosen])"""
STANDARD = "return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)"
OVER = """mean, var = x.mean({axis}, keepdim=True), x.var({axis}, keepdim=True, unbiased=False)
        return (x - mean) / (var + self.eps) ** 0.5 * self.weight"""


@dataclass(frozen=True)
class Variant:
    """One way to make a fault."""

    detail: str
    edits: tuple[Edit, ...]

    @property
    def inside(self) -> bool:
        """Whether it lies in the blocks, of which one alone can have it."""
        return all(part in ("attention", "layers", "block") for part, _, _ in self.edits)


@dataclass(frozen=True)
class Kind:
    """A kind of fault: its name, which a guess gives, and the ways to make it."""

    name: str
    variants: tuple[Variant, ...]


def _one(name: str, part: str, old: str, **new: str) -> Kind:
    """A kind whose variants replace the same text; their details are the names, _ for a space."""
    made = [Variant(key.replace("_", " "), ((part, old, text),)) for key, text in new.items()]
    return Kind(name, tuple(made))


def _many(name: str, part: str, old: str, detail: str, new: str, values: tuple) -> Kind:
    """A kind whose variants differ in one value, which stands in the detail and in the text."""
    made = [Variant(detail.format(v), ((part, old, new.format(v)),)) for v in values]
    return Kind(name, tuple(made))


KINDS: tuple[Kind, ...] = (
    # the model
    Kind("no mask", (
        Variant("every token sees all", (("attention", ATTEND, "is_causal=False)"),)),
        Variant("the mask is one too far to the right", (("attention", ATTEND,
            "attn_mask=torch.ones(T, T, dtype=torch.bool).tril(1))"),)),
        *(Variant(f"head {head} has no mask", (("attention", ATTEND,
            f"attn_mask=self.mask[:T, :T] | (torch.arange(self.n_head) == {head})[:, None, None])"
            ),)) for head in range(4)),
    )),
    Kind("softmax over the wrong axis", (
        Variant("over the queries", (
            ("attention", "return F.softmax(scores, dim=-1)", "return F.softmax(scores, dim=-2)"),
            ("attention", "out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, "
             "is_causal=True)", "out = attention_weights(q, k, self.mask[:T, :T]) @ v"))),
    )),
    _one("scores scaled wrongly", "attention", ATTEND,
        not_at_all="is_causal=True, scale=1.0)", by_d="is_causal=True, scale=1 / q.size(-1))",
        multiplied_by_d="is_causal=True, scale=float(q.size(-1)))"),
    Kind("heads without transpose", (
        Variant("when they are cut",
            (("attention", "return [part.view(shape).transpose(1, 2) for part in qkv]",
            "return [part.reshape(B, self.n_head, T, C // self.n_head) for part in qkv]"),)),
        Variant("when they are merged", (("attention",
            "out = out.transpose(1, 2).reshape(B, T, C)", "out = out.reshape(B, T, C)"),)),
    )),
    Kind("norm missing", (
        Variant("before attention", (("block",
            "x = self.join(x, self.attention(self.norm_1(x)))",
            "x = self.join(x, self.attention(x))"),)),
        Variant("before the feed-forward network", (("block",
            "return self.join(x, self.feed_forward(self.norm_2(x)))",
            "return self.join(x, self.feed_forward(x))"),)),
        Variant("before the head", (("gpt", "self.head(self.final_norm(x))", "self.head(x)"),)),
    )),
    Kind("norm over the wrong axis", (
        Variant("over time", (("layers", STANDARD, OVER.format(axis=1)),)),
        Variant("over the batch", (("layers", STANDARD, OVER.format(axis=0)),)),
    )),
    Kind("shortcut missing", (
        Variant("around both layers", (("block",
            "return x + change if self.shortcut else change", "return change"),)),
        Variant("around attention", (("block",
            "x = self.join(x, self.attention(self.norm_1(x)))",
            "x = self.attention(self.norm_1(x))"),)),
        Variant("around the feed-forward network", (("block",
            "return self.join(x, self.feed_forward(self.norm_2(x)))",
            "return self.feed_forward(self.norm_2(x))"),)),
    )),
    _one("GELU replaced", "layers", "return F.gelu(x, approximate=self.approximate)",
        by_nothing="return x", by_ReLU="return F.relu(x)", by_a_sigmoid="return torch.sigmoid(x)",
        by_tanh="return torch.tanh(x)"),
    Kind("head not tied", (
        Variant("not asked for", ((PROGRAM, SHAPE, SHAPE + ", tied=False"),)),
        Variant("a copy of the table", (("gpt",
            "self.head.weight = self.token_embedding.weight",
            "self.head.weight = nn.Parameter(self.token_embedding.weight.detach().clone())"),)),
    )),
    Kind("positions missing or repeated", (
        Variant("not added",
            (("gpt", "self.dropout(tokens + positions)", "self.dropout(tokens)"),)),
        *(Variant(f"repeated after {n}", (("gpt",
            "torch.arange(idx.size(1), device=idx.device)",
            f"torch.arange(idx.size(1), device=idx.device) % {n}"),)) for n in (2, 4, 8)),
    )),
    Kind("gradient cut", (
        Variant("x is detached where it comes in", (("block", '        if self.norm == "pre":',
            '        x = x.detach()\n        if self.norm == "pre":'),)),
    )),
    Kind("first weights too large", (
        *(Variant(f"the token table, {n} times", ((PROGRAM, "self.model = GPT(CONFIG)",
            f"self.model = GPT(CONFIG)\n        self.model.token_embedding.weight.data *= {n}"),))
            for n in (10, 50)),
        Variant("all matrices, 10 times", (("gpt", "std=0.02 * scale", "std=0.2 * scale"),)),
    )),
    # what it learns from
    _one("targets not shifted", PROGRAM, "ids[places + 1]",
        the_targets_are_the_inputs="ids[places]", shifted_the_wrong_way="ids[places - 1]"),
    _many("targets too far ahead", PROGRAM, "ids[places + 1]", "shifted by {}",
        "ids[places + {}]", (2, 3)),
    Kind("few batches again and again", tuple(
        Variant(f"{n} in all", ((PROGRAM, SIZES, "RECIPE.batch_size,), "
            f"generator=torch.Generator().manual_seed(step % {n})"),)) for n in (1, 2, 4))),
    Kind("data in order", tuple(
        Variant(detail, ((PROGRAM, "self.train, self.val = train, val", SORT.format(way=way)),
            (PROGRAM, CHOSEN, IN_TURN)))
        for detail, way in (("sorted", ""), ("sorted, the last first", "[::-1]")))),
    _one("validation text trained on", PROGRAM, "self.train, self.val = train, val",
        it_is_all_the_training_text="self.train, self.val = val, val"),
    # the loss
    _one("softmax twice", PROGRAM, SCORE,
        probabilities_for_logits="return next_token_loss(logits.softmax(dim=-1), y)"),
    _one("loss added up, not averaged", PROGRAM, SCORE,
        over_the_window="return next_token_loss(logits, y) * y.size(1)",
        over_the_batch="return next_token_loss(logits, y) * y.size(0)"),
    _one("loss of some places only", PROGRAM, SCORE,
        the_last="return next_token_loss(logits[:, -1:], y[:, -1:])",
        the_first_half="return next_token_loss(logits[:, :8], y[:, :8])"),
    _one("logits and targets in different orders", PROGRAM, SCORE,
        batch_and_time_exchanged="return next_token_loss(logits.transpose(0, 1).flatten(0, 1), "
        "y.flatten())"),
    Kind("dropout on in evaluation", tuple(
        Variant(f"dropout {p}", ((PROGRAM, SHAPE, f"{SHAPE}, dropout={p}"), (PROGRAM,
            "with evaluating(self.model):\n            return self.loss", "return self.loss")))
        for p in (0.1, 0.2, 0.4))),
    # the step
    _one("zero_grad forgotten", PROGRAM, "self.optimizer.zero_grad()\n        loss =",
        always="loss =", in_nine_of_ten_steps="if step % 10 == 0:\n            "
        "self.optimizer.zero_grad()\n        loss ="),
    _one("zero_grad before the step", PROGRAM, "        self.optimizer.step()",
        gradients_are_thrown_away="        self.optimizer.zero_grad()\n"
        "        self.optimizer.step()"),
    Kind("no clipping, and a batch of garbage", tuple(
        Variant(f"in step {step}", ((PROGRAM, "self.model.parameters(), 1.0",
            'self.model.parameters(), float("inf")'), (PROGRAM, DRAWN, GARBAGE.format(step=step))))
        for step in (60, 100, 140))),
    _one("no warm-up", PROGRAM, BETAS, full_rate_at_once=BETAS + ", warmup_steps=0"),
    _many("learning rate too high", PROGRAM, RATE, "{} times", "{} * " + RATE, (5, 10, 20)),
    _many("learning rate too low", PROGRAM, RATE, "a share of 1 / {}", RATE + " / {}",
        (10, 30, 100)),
    _one("learning rate backwards", PROGRAM, RATE,
        low_first="learning_rate(RECIPE.steps + 1 - step, RECIPE)"),
    _many("weight decay too large", PROGRAM, BETAS, "decay {}", BETAS + ", weight_decay={}",
        (1, 5, 20)),
    _one("betas wrong", PROGRAM, BETAS, swapped=BETAS + ", betas=(0.95, 0.9)",
        no_memory_of_gradients=BETAS + ", betas=(0.0, 0.95)",
        too_long_a_memory=BETAS + ", betas=(0.99, 0.999)"),
    _one("gradient descent for AdamW", PROGRAM, "make_optimizer(self.model, RECIPE)",
        plain="torch.optim.SGD(self.model.parameters())",
        with_momentum="torch.optim.SGD(self.model.parameters(), momentum=0.9)"),
    _one("optimiser has a part of the parameters", PROGRAM, "make_optimizer(self.model, RECIPE)",
        the_tables="make_optimizer(nn.ModuleList([self.model.token_embedding, "
        "self.model.position_embedding]), RECIPE)",
        the_blocks="make_optimizer(self.model.blocks, RECIPE)",
        half_of_the_blocks="make_optimizer(self.model.blocks[:2], RECIPE)"),
    _one("optimiser has another model", PROGRAM, "make_optimizer(self.model, RECIPE)",
        built_anew="make_optimizer(GPT(CONFIG), RECIPE)"),
)  # fmt: skip
