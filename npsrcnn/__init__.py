"""SRCNN from scratch: super-resolution by three convolutions, in NumPy and Numba.

>>> import npsrcnn
>>> larger = npsrcnn.upscale(image, 3)                # an array in, an array out  # doctest: +SKIP
>>> net = npsrcnn.SRCNN("9-1-5", channels=1, seed=0)  # or npsrcnn.load(name_or_path)

What is here is imported when it is first used, from where ``__init__.pyi`` says: so a command or a
worker that needs little of it does not wait for the rest.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
