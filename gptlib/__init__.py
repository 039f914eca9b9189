"""gptlib: a GPT built step by step. One module a chapter, in the order of the chapters.

Importing the package loads nothing else: `import gptlib` is instant, and each module brings in
only what it and the chapters before it need.
"""

__version__ = "0.1.0"
