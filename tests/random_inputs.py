"""Networks and images that several tests make up."""

from __future__ import annotations

import numpy as np

from npsrcnn import SRCNN


def random_net(
    name: str = "9-1-5",
    channels: int = 1,
    *,
    scale: int | None = 2,
    color: str | None = None,
    n: tuple[int, ...] = (8, 4),
    seed: int = 1,
) -> SRCNN:
    """A small network whose biases are not zero, so that every layer's place shows."""
    known = {"scale": scale, "color": color or ("rgb" if channels == 3 else "y")}
    metadata = {key: value for key, value in known.items() if value is not None}
    net = SRCNN(name, channels, n=n, seed=seed, metadata=metadata)
    rng = np.random.default_rng(seed)
    for _, b in net.layers:
        b[:] = 0.1 * rng.standard_normal(len(b))
    return net


def restored_but_flat(net: SRCNN, blurred: np.ndarray) -> np.ndarray:
    """Restore (c, H, W) as upscale does: without what the network makes of flat images."""
    lowest, highest = (16 / 255, 235 / 255) if net.channels == 1 else (0, 1)
    values = blurred.clip(lowest, highest).astype(np.float32)
    pixels = values.reshape(net.channels, -1).T[:, :, None, None]  # each a picture of its own
    error = (net.forward(pixels) - pixels)[:, :, 0, 0].T.reshape(blurred.shape)
    return net.forward(blurred[None])[0] - error


def random_image(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Uniform noise over the whole range of the type, 0..1 where it is a float."""
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    return (rng.random(shape) * top).astype(dtype)


def random_samples(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """All values of an integer type; normal ones, of both signs, where it is a float."""
    if np.dtype(dtype).kind == "u":
        return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return rng.standard_normal(shape).astype(dtype)


def smooth_samples(shape: tuple[int, int, int]) -> np.ndarray:
    """A picture that lossy formats keep nearly as it is."""
    y, x, c = np.mgrid[: shape[0], : shape[1], : shape[2]]
    return (120 + 60 * np.sin(y / 9 + c) + 50 * np.cos(x / 11 - c)).astype(np.uint8)
