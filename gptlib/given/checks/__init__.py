"""Given, not built: what is asked of a value where it comes in, so that chapters read for ideas.

One module for each kind of value: `numbers`, `text` and tokens, `tensors` that go into a model, the
`recipe` of a training run, what was `saved`. Each check does nothing, or gives its value back in
one fixed form, when all is well; otherwise it raises a ValueError that names the argument, its
value and what would be right.
"""
