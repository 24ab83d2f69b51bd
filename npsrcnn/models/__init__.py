"""`python -m npsrcnn.models`, and `npsrcnn.models()`: the weights that ship."""

from npsrcnn.model_files.shipped import Model, best_for, models

__all__ = ["Model", "best_for", "models"]
