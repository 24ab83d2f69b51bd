"""Dead leaves: images to train on that need no camera, no download and no licence.

Shapes of random size, colour and place that cover one another give images with the statistics of
photographs: edges at all scales, few of them, between smooth regions (Lee, Mumford, Huang:
"Occlusion models for natural images", IJCV 2001). Networks trained on them restore photographs
almost as well as those trained on photographs (Achddou, Gousseau, Ladjal: "Fully synthetic
training for image restoration tasks", CVIU 2023).

NumPy draws what the leaves of an image are, one row of a table each; a compiled kernel paints
them from the front to the back, so that what is covered is never painted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.kernels.jit import jit
from npsrcnn.kernels.threads import parallel

AT_ONCE = 32  # images whose tables are in memory
RADII = 256  # sizes of leaves that are told apart, in equal ratios


@dataclass(frozen=True)
class Style:
    """What leaves look like; lengths in pixels, brightness in 0..1.

    Attributes
    ----------
    r_min, r_max : float
        Radii of the smallest and largest leaves.
    power : float
        Of radius r there are leaves in proportion to r ** power. -3 is what makes statistics the
        same at all scales (Lee et al.); above it there is less detail.
    polygons : float
        The part of the leaves that are triangles to hexagons; the others are ellipses.
    elongation : float
        Sides of a leaf are as 1 to e ** x, x Gaussian with this standard deviation.
    contrast : (float, float)
        Of each image, the standard deviation of its leaves' brightness lies in this range.
    saturation : float
        Standard deviation of colour, relative to that of brightness.
    gradient : float
        Standard deviation of the change of brightness across a leaf.
    textured : float
        The part of the leaves that carry waves.
    amplitude : float
        Of waves, at most.
    wavelength : (float, float)
        Shortest and longest.
    soft : float
        The part of the leaves with soft edges, as out of focus.
    filter : (float, float)
        Each image is filtered by (k, 1 - 2k, k) along rows and columns, k in this range:
        blurred where k is positive, sharpened where it is negative.
    noise : float
        Standard deviation of Gaussian noise, at most, of each image another.
    """

    r_min: float = 3.0
    r_max: float = 150.0
    power: float = -2.0
    polygons: float = 0.5
    elongation: float = 0.5
    contrast: tuple[float, float] = (0.1, 0.3)
    saturation: float = 0.3
    gradient: float = 0.1
    textured: float = 0.25
    amplitude: float = 0.15
    wavelength: tuple[float, float] = (3.0, 40.0)
    soft: float = 0.0
    filter: tuple[float, float] = (0.0, 0.0)
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.r_min < self.r_max:
            raise UserError(f"radii from {self.r_min} to {self.r_max}: expected 0.5 <= min < max")


def dead_leaves(
    count: int = 200,
    shape: tuple[int, int] = (256, 256),
    seed: int = 0,
    style: Style | None = None,
    first: int = 0,
) -> np.ndarray:
    """Generate images of leaves that cover one another.

    Parameters
    ----------
    count : int
        How many images; the default gives 51,200 sub-images, in a second.
    shape : (rows, columns)
    seed : int
    style : Style
        What the leaves look like.
    first : int
        Number of the first image. Each depends on its number and the seed, on no other image.

    Returns
    -------
    ndarray, (count, rows, columns, 3)
        uint8 RGB.
    """
    style = style or Style()
    if count < 1 or min(shape) < 1 or seed < 0:
        raise UserError(
            f"cannot make {count} images of {shape[0]} x {shape[1]} pixels, seed {seed}"
        )
    images = np.empty((count, *shape, 3), np.uint8)
    for start in range(0, count, AT_ONCE):
        some = images[start : start + AT_ONCE]
        rngs = [np.random.default_rng((seed, first + start + i)) for i in range(len(some))]
        leaves = np.stack([_drawn(rng, shape, style) for rng in rngs])
        filters = np.array([rng.uniform(*style.filter) for rng in rngs], np.float32)
        canvas = np.empty((len(some), *shape, 3), np.float32)
        parallel(_paint, len(some), leaves, canvas)
        parallel(_filter, len(some), filters, canvas)
        for image, rng in zip(canvas, rngs, strict=True):
            if style.noise > 0:
                grain = rng.standard_normal(image.shape, np.float32)
                image += grain * np.float32(rng.uniform(0, style.noise))
        np.clip(np.rint(canvas * np.float32(255)), 0, 255, out=canvas)
        some[...] = canvas
    return images


# The columns of a table of leaves.
X, Y, A, B, ANGLE, CORNERS, BLUR, RED, GREEN, BLUE = range(10)
SLOPE_X, SLOPE_Y, AMPLITUDE, WAVE_X, WAVE_Y, PHASE = range(10, 16)
COLUMNS = 16
DEPTH = 10  # leaves over each pixel, on average; what they leave open is e ** -DEPTH


def _drawn(rng: np.random.Generator, shape: tuple[int, int], style: Style) -> np.ndarray:
    """The leaves of one image, foremost first, and a background that covers everything."""
    height, width = shape
    radius = _radii(rng, shape, style)
    n = len(radius)
    leaves = np.zeros((n, COLUMNS))
    leaves[:, X] = rng.uniform(-1, 1, n) * (width / 2 + radius) + width / 2
    leaves[:, Y] = rng.uniform(-1, 1, n) * (height / 2 + radius) + height / 2
    stretch = np.exp(-np.abs(rng.standard_normal(n)) * style.elongation)
    leaves[:, A], leaves[:, B] = radius, np.maximum(radius * stretch, 0.5)
    leaves[:, ANGLE] = rng.uniform(0, np.pi, n)
    corners = rng.choice([3, 4, 4, 4, 5, 6], n)
    leaves[:, CORNERS] = np.where(rng.random(n) < style.polygons, corners, 0)
    softness = np.where(rng.random(n) < style.soft, rng.uniform(0, 3, n), 0)
    leaves[:, BLUR] = 1 + softness
    contrast, mean = rng.uniform(*style.contrast), rng.uniform(0.3, 0.6)
    bright = mean + contrast * rng.standard_normal(n)
    bright = np.abs(1 - np.abs(1 - bright))  # mirrored into 0..1
    warm, green = contrast * style.saturation * rng.standard_normal((2, n))
    leaves[:, RED] = bright + warm + 0.3 * green
    leaves[:, GREEN] = bright - 0.3 * green
    leaves[:, BLUE] = bright - warm + 0.3 * green
    slope = style.gradient * rng.standard_normal((2, n)) / (2 * radius)
    leaves[:, SLOPE_X], leaves[:, SLOPE_Y] = slope
    waves = rng.random(n) < style.textured
    leaves[:, AMPLITUDE] = np.where(waves, rng.uniform(0, style.amplitude, n), 0)
    shortest, longest = np.log(style.wavelength)
    number = 2 * np.pi * np.exp(-rng.uniform(shortest, longest, n))
    direction = rng.uniform(0, 2 * np.pi, n)
    leaves[:, WAVE_X], leaves[:, WAVE_Y] = number * np.cos(direction), number * np.sin(direction)
    leaves[:, PHASE] = rng.uniform(0, 2 * np.pi, n)
    leaves[-1, [X, Y, A, B, CORNERS]] = width / 2, height / 2, width + height, width + height, 0
    leaves[-1, [SLOPE_X, SLOPE_Y]] *= radius[-1] / (width + height)
    return leaves


def _radii(rng: np.random.Generator, shape: tuple[int, int], style: Style) -> np.ndarray:
    """Radii of enough leaves to cover an image.

    Centres lie on a plane around the image, so of all leaves that touch it, more are large:
    in proportion to (height + 2r)(width + 2r).
    """
    r = np.geomspace(style.r_min, style.r_max, RADII)
    touching = (shape[0] + 2 * r) * (shape[1] + 2 * r)
    weight = r ** (style.power + 1) * touching  # + 1: steps of r are in proportion to r
    weight /= weight.sum()
    covered = (weight * np.pi * r**2 / touching).sum()  # the part of the image that a leaf covers
    stretched = np.exp(-style.elongation * 0.8)  # 0.8: the mean of |x|, x Gaussian
    count = int(np.ceil(DEPTH / (covered * stretched)))
    return np.interp(rng.random(count), np.cumsum(weight), r)


@jit
def _paint(i, leaves, canvas):
    """Paint image i, (H, W, 3): each leaf where those before it have left something open."""
    image = canvas[i]
    height, width = image.shape[:2]
    open_ = np.ones((height, width), np.float32)  # the part of each pixel not covered yet
    image[:] = 0
    edges = np.empty((6, 3))  # of a polygon: the normal, and the distance from its centre
    for n in range(len(leaves[i])):
        leaf = leaves[i, n]
        a, b, blur, corners = leaf[A], leaf[B], leaf[BLUR], int(leaf[CORNERS])
        cos, sin = np.cos(leaf[ANGLE]), np.sin(leaf[ANGLE])
        reach = max(a, b) + blur
        if corners > 0:
            reach = max(a, b) / np.cos(np.pi / corners) + blur
        for k in range(corners):
            p, q = np.cos(2 * np.pi * k / corners) / a, np.sin(2 * np.pi * k / corners) / b
            length = np.sqrt(p * p + q * q)
            edges[k, 0], edges[k, 1], edges[k, 2] = p / length, q / length, 1 / length
        for y in range(max(0, int(leaf[Y] - reach)), min(height, int(leaf[Y] + reach) + 2)):
            for x in range(max(0, int(leaf[X] - reach)), min(width, int(leaf[X] + reach) + 2)):
                if open_[y, x] < 0.002:  # half a step of 8 bits
                    continue
                dx, dy = x - leaf[X], y - leaf[Y]
                u, v = cos * dx + sin * dy, cos * dy - sin * dx
                distance = _distance(u, v, a, b, edges[:corners])
                cover = min(max(0.5 - distance / blur, 0.0), 1.0) * open_[y, x]
                if cover <= 0:
                    continue
                light = leaf[SLOPE_X] * dx + leaf[SLOPE_Y] * dy
                if leaf[AMPLITUDE] > 0:
                    wave = leaf[WAVE_X] * dx + leaf[WAVE_Y] * dy + leaf[PHASE]
                    light += leaf[AMPLITUDE] * np.sin(wave)
                for c in range(3):
                    image[y, x, c] += cover * min(max(leaf[RED + c] + light, 0.0), 1.0)
                open_[y, x] -= cover


@jit
def _distance(u, v, a, b, edges):
    """Signed distance to the edge of a leaf, negative inside.

    A polygon is a regular one, stretched along its axes; without edges, an ellipse, for which
    the distance is right to first order.
    """
    if len(edges) > 0:
        result = -np.inf
        for k in range(len(edges)):
            result = max(result, edges[k, 0] * u + edges[k, 1] * v - edges[k, 2])
        return result
    p, q = u / a, v / b
    level = np.sqrt(p * p + q * q)
    if level == 0:
        return -b
    return (level - 1) * level / np.sqrt((p / a) ** 2 + (q / b) ** 2)


@jit
def _filter(i, strengths, canvas):
    """Filter image i by (k, 1 - 2k, k), columns then rows, its edges repeated."""
    k, image = strengths[i], canvas[i]
    if k == 0:
        return
    centre = np.float32(1) - k - k
    for axis in range(2):
        source = image.copy()
        for y in range(image.shape[0]):
            for x in range(image.shape[1]):
                for c in range(3):
                    if axis == 0:
                        before = source[max(y - 1, 0), x, c]
                        after = source[min(y + 1, image.shape[0] - 1), x, c]
                    else:
                        before = source[y, max(x - 1, 0), c]
                        after = source[y, min(x + 1, image.shape[1] - 1), c]
                    image[y, x, c] = k * (before + after) + centre * source[y, x, c]
