"""The same model again, without PyTorch: what it computes does not hang on who computes it."""
