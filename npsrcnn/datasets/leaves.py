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

import math
from dataclasses import dataclass

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.kernels.jit import jit
from npsrcnn.kernels.threads import parallel

AT_ONCE = 16  # images whose tables are in memory
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
        leaves = np.empty((len(some), _count(shape, style), COLUMNS))
        parallel(_draw, len(some), rngs, shape, style, leaves)
        filters = np.array([rng.uniform(*style.filter) for rng in rngs])
        canvas = np.zeros((len(some), *shape, 3), np.float32)
        left, edges = np.ones((len(some), *shape), np.float32), np.empty((len(some), 6, 3))
        parallel(_paint, len(some), leaves, edges, left, canvas)
        if filters.any():
            canvas = _filtered(canvas, filters)
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
CLOSED = 0.002  # the part of a pixel that no leaf need paint any more: half a step of 8 bits
DEPTH = 6  # leaves over each pixel, on average; what they leave open is e ** -DEPTH


def _draw(
    i: int, rngs: list[np.random.Generator], shape: tuple[int, int], style: Style, out: np.ndarray
) -> None:
    """The leaves of image i, foremost first, and a background that covers everything."""
    rng, leaves = rngs[i], out[i]
    n, (height, width) = len(leaves), shape
    sizes, _, weight = _sizes(shape, style)
    radius = np.interp(rng.random(n), np.cumsum(weight), sizes)
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


def _sizes(shape: tuple[int, int], style: Style) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radii of leaves, how much of the plane each size may touch the image from, and how often.

    Centres lie on a plane around the image. Of the leaves that touch it more are large than of
    all: in proportion to (height + 2r)(width + 2r).
    """
    r = np.geomspace(style.r_min, style.r_max, RADII)
    touching = (shape[0] + 2 * r) * (shape[1] + 2 * r)
    weight = r ** (style.power + 1) * touching  # + 1: steps of r are in proportion to r
    return r, touching, weight / weight.sum()


def _count(shape: tuple[int, int], style: Style) -> int:
    """How many leaves lie DEPTH deep on an image, on average."""
    r, touching, weight = _sizes(shape, style)
    covered = (weight * np.pi * r**2 / touching).sum()  # the part of the image that a leaf covers
    stretched = np.exp(-style.elongation * 0.8)  # 0.8: the mean of |x|, x Gaussian
    return math.ceil(DEPTH / (covered * stretched))


@jit
def _paint(i, leaves, edges, left, canvas):
    """Paint image i, (H, W, 3): each leaf where those before it have left something open.

    ``left`` (H, W), at first 1, is the part of each pixel that is still open, ``edges`` room for
    the sides of a polygon: of each the normal, and the distance from the centre.
    """
    height, width = left.shape[1:]
    for n in range(leaves.shape[1]):
        centre_x, centre_y = leaves[i, n, X], leaves[i, n, Y]
        a, b, blur, corners = (
            leaves[i, n, A],
            leaves[i, n, B],
            leaves[i, n, BLUR],
            int(leaves[i, n, CORNERS]),
        )
        reach = max(a, b)
        if corners > 0:
            reach /= math.cos(math.pi / corners)
        reach += blur
        top, bottom = max(0, int(centre_y - reach)), min(height, int(centre_y + reach) + 2)
        first, stop = max(0, int(centre_x - reach)), min(width, int(centre_x + reach) + 2)
        if not _any_open(i, top, bottom, first, stop, left):
            continue
        cos, sin = math.cos(leaves[i, n, ANGLE]), math.sin(leaves[i, n, ANGLE])
        for k in range(corners):
            p = math.cos(2 * math.pi * k / corners) / a
            q = math.sin(2 * math.pi * k / corners) / b
            length = math.sqrt(p * p + q * q)
            edges[i, k, 0], edges[i, k, 1], edges[i, k, 2] = p / length, q / length, 1 / length
        amplitude = leaves[i, n, AMPLITUDE]
        for y in range(top, bottom):
            for x in range(first, stop):
                if left[i, y, x] < CLOSED:
                    continue
                dx, dy = x - centre_x, y - centre_y
                u, v = cos * dx + sin * dy, cos * dy - sin * dx
                if corners > 0:
                    distance = -math.inf
                    for k in range(corners):
                        side = edges[i, k, 0] * u + edges[i, k, 1] * v - edges[i, k, 2]
                        distance = max(distance, side)
                else:
                    distance = _from_ellipse(u, v, a, b)
                cover = min(max(0.5 - distance / blur, 0.0), 1.0) * left[i, y, x]
                if cover <= 0:
                    continue
                light = leaves[i, n, SLOPE_X] * dx + leaves[i, n, SLOPE_Y] * dy
                if amplitude > 0:
                    wave = leaves[i, n, WAVE_X] * dx + leaves[i, n, WAVE_Y] * dy
                    light += amplitude * math.sin(wave + leaves[i, n, PHASE])
                for c in range(3):
                    color = min(max(leaves[i, n, RED + c] + light, 0.0), 1.0)
                    canvas[i, y, x, c] += cover * color
                left[i, y, x] -= cover


@jit
def _any_open(i, top, bottom, first, stop, left):
    for y in range(top, bottom):
        for x in range(first, stop):
            if left[i, y, x] >= CLOSED:
                return True
    return False


@jit
def _from_ellipse(u, v, a, b):
    """Signed distance to an ellipse with half axes a and b, to first order; negative inside."""
    p, q = u / a, v / b
    level = math.sqrt(p * p + q * q)
    if level == 0:
        return -min(a, b)
    return (level - 1) * level / math.sqrt((p / a) ** 2 + (q / b) ** 2)


def _filtered(images: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Images (N, H, W, 3) filtered by (k, 1 - 2k, k) along rows and columns, edges repeated."""
    k = strengths.astype(images.dtype)[:, None, None, None]
    wide = np.pad(images, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="edge")
    images = (1 - 2 * k) * images + k * (wide[:, :-2] + wide[:, 2:])
    wide = np.pad(images, ((0, 0), (0, 0), (1, 1), (0, 0)), mode="edge")
    return (1 - 2 * k) * images + k * (wide[:, :, :-2] + wide[:, :, 2:])
