"""Windows of a result, and scenes that no memory holds: the same to the last bit."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from npsrcnn import SRCNN
from npsrcnn.big_tiff import TILE
from npsrcnn.ensemble import ensemble
from npsrcnn.images import Picture
from npsrcnn.resize import Resizer
from npsrcnn.upscale import enlarge, streaming
from npsrcnn.upscale.large import Enlarger
from npsrcnn.upscale.streaming import enlarge_scene

tifffile = pytest.importorskip("tifffile", reason="needs the extra large")


def random_net(name="9-1-5", channels=1, scale=2, n=(8, 4), seed=1):
    color = "rgb" if channels == 3 else "y"
    metadata = {"scale": scale, "color": color}
    net = SRCNN(name, channels, n=n, seed=seed, metadata=metadata)
    rng = np.random.default_rng(seed)
    for _, b in net.layers:
        b[:] = 0.1 * rng.standard_normal(len(b))
    return net


def random_image(rng, shape, dtype):
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    return (rng.random(shape) * top).astype(dtype)


def random_windows(rng, shape, number):
    for _ in range(number):
        rows, columns = (np.sort(rng.choice(length + 1, 2, replace=False)) for length in shape)
        yield tuple(map(int, rows)), tuple(map(int, columns))


# Windows


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("edge", ["clamp", "mirror"])
def test_bicubic_windows(rng, dtype, edge):
    image = random_image(rng, (23, 31, 2), dtype)
    for resizer in (
        Resizer((23, 31), 2.5, edge=edge), Resizer((23, 31), 0.4, edge=edge),
        Resizer((23, 31), shape=(60, 17), edge=edge), Resizer((23, 31), shape=(9, 50), edge=edge),
    ):  # fmt: skip
        whole = resizer(image)
        for rows, columns in random_windows(rng, resizer.shape, 8):
            (top, bottom), (left, right) = resizer.needs(rows, columns)
            part = image[top:bottom, left:right]
            window = resizer.window(part, (top, left), rows, columns)
            np.testing.assert_array_equal(window, whole[slice(*rows), slice(*columns)])


NETS = {
    "9-1-5": lambda: [random_net()],
    "Winograd": lambda: [random_net("9-5-5", n=(16, 16))],
    "3 channels": lambda: [random_net("3-1-3", 3)],
    "x6 in steps": lambda: [random_net("5-1-3"), random_net("5-3-5", scale=3, n=(16, 16))],
    "ensemble": lambda: [ensemble(random_net("4-3-3", n=(16, 16)))],
}


@pytest.mark.parametrize("nets", NETS)
@pytest.mark.parametrize("kind", [((), np.uint8), ((3,), np.uint16), ((3,), np.float64)])
def test_windows_are_as_the_whole(rng, nets, kind):
    (channels, dtype), size = kind, (61, 83)
    nets = NETS[nets]()
    pixels = random_image(rng, (*size, *channels), dtype)
    alpha = random_image(rng, size, dtype)
    alpha[:, 20:60] = 0
    alpha[30:34, 40:44] = 1
    scale = math.prod(net.scale for net in nets)
    whole, opacity = enlarge(pixels, alpha, nets, scale)
    enlarger = Enlarger(size, nets, scale)
    for rows, columns in random_windows(rng, enlarger.shape, 4):
        part = np.s_[slice(*rows), slice(*columns)]
        (top, bottom), (left, right) = enlarger.needs(rows, columns)
        seen = np.s_[top:bottom, left:right]
        for a in (alpha[seen], None):
            window, clear = enlarger(pixels[seen], a, rows, columns, (top, left))
            if a is not None:
                np.testing.assert_array_equal(window, whole[part])
                np.testing.assert_array_equal(clear, opacity[part])
        np.testing.assert_array_equal(window, enlarge(pixels, None, nets, scale)[0][part])


@pytest.mark.parametrize("scale", [1.5, 2.7])
def test_windows_of_a_last_bicubic_step(rng, scale):
    nets, image = [random_net()], random_image(rng, (40, 50, 3), np.uint8)
    whole, _ = enlarge(image, None, nets, scale)
    enlarger = Enlarger((40, 50), nets, scale)
    for rows, columns in random_windows(rng, enlarger.shape, 5):
        window, _ = enlarger(image, None, rows, columns)
        np.testing.assert_array_equal(window, whole[slice(*rows), slice(*columns)])


def test_a_network_goes_to_another_process(rng):
    for net in (random_net(), ensemble(random_net())):
        same = pickle.loads(pickle.dumps(net))
        x = rng.random((20, 20)).astype(np.float32)
        np.testing.assert_array_equal(same.forward(x), net.forward(x))
        assert same.metadata == net.metadata and type(same) is type(net)


# Scenes


def scene_file(path, rng, shape=(230, 310, 3), dtype=np.uint8, hidden=True, **options):
    samples = random_image(rng, shape, dtype)
    if shape[2:] in ((2,), (4,)):
        samples[40:150, 60:200, -1] = 0
        options["extrasamples"] = ["unassalpha"]
    options.setdefault("photometric", "rgb" if shape[2:] in ((3,), (4,)) else "minisblack")
    tifffile.imwrite(path, samples, metadata=None, **options)
    return samples


def in_memory(samples, nets, scale=2):
    picture = Picture.from_samples(samples)
    return Picture(*enlarge(picture.pixels, picture.alpha, nets, scale)).samples()


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of one tile, so that a small scene has many."""
    monkeypatch.setattr(streaming, "LARGEST", TILE)


LAYOUTS = [
    {}, {"rowsperstrip": 7}, {"rowsperstrip": 50, "compression": "zlib", "predictor": True},
    {"tile": (32, 64)}, {"tile": (64, 32), "compression": "zlib"}, {"byteorder": ">"},
    {"bigtiff": True, "byteorder": ">", "tile": (64, 64), "compression": "packbits"},
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("shape", [(230, 310), (230, 310, 3)])
def test_a_scene_is_as_in_memory(tmp_path, rng, small_blocks, layout, shape):
    samples = scene_file(tmp_path / "a.tif", rng, shape, np.uint16, **layout)
    nets = [random_net("3-1-3")]
    size, enlarged = enlarge_scene(tmp_path / "a.tif", tmp_path / "b.tif", nets, 2, memory=10**9)
    result = tifffile.imread(tmp_path / "b.tif")
    assert size == (230, 310) and enlarged == result.shape[:2] == (460, 620)
    np.testing.assert_array_equal(np.atleast_3d(result), in_memory(samples, nets))
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif", "b.tif"}
