"""Generate dead leaves: images to train on that need no camera, no download and no licence.

Shapes of random size, colour and place that cover one another give images with the statistics of
photographs: edges at all scales, few of them, between smooth regions (Lee, Mumford, Huang:
"Occlusion models for natural images", IJCV 2001). Networks trained on them restore photographs
almost as well as those trained on photographs (Achddou, Gousseau, Ladjal: "Fully synthetic
training for image restoration tasks", CVIU 2023).

NumPy draws the properties of the leaves of an image, one row of a table each; a compiled kernel
paints them from the front to the back, so that covered pixels are never painted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.runtime.files import write_atomically
from npsrcnn.runtime.jit import jit
from npsrcnn.runtime.threads import parallel
from npsrcnn.words import counted

RADIUS_STEPS = 256  # from the smallest to the largest radius, in equal ratios
IMAGES_IN_MEMORY = 32  # while they are written to files


@dataclass(frozen=True)
class Style:
    """Look of the leaves; lengths in pixels, brightness in 0..1.

    Attributes
    ----------
    r_min : (float, float)
        Radius of the smallest leaves; each image draws its own from this range.
    r_max : float
        Radius of the largest leaves.
    power : float
        Leaves of radius r are as frequent as r ** power. -3 makes statistics alike at all scales
        (Lee et al.); above it there is less detail.
    polygons : float
        Fraction of the leaves that are triangles to hexagons; the others are ellipses.
    elongation : float
        Axes of a leaf are as 1 to e ** x, x Gaussian with this standard deviation.
    contrast : (float, float)
        Standard deviation of the leaves' brightness; each image draws its own from this range.
    saturation : float
        Standard deviation of colour, relative to that of brightness.
    gradient : float
        Standard deviation of the change of brightness across a leaf.
    textured : float
        Fraction of the leaves that carry waves.
    amplitude : float
        Largest amplitude of a wave.
    wavelength : (float, float)
        Shortest and longest wave.
    soft : float
        Fraction of the leaves with soft edges, as out of focus.
    filter : (float, float)
        Each image is filtered by (k, 1 - 2k, k) along rows and columns, k in this range:
        blurred where k is positive, sharpened where it is negative.
    noise : float
        Largest standard deviation of Gaussian noise; each image draws its own.

    Notes
    -----
    The defaults were chosen at x3 on 40 images of BSDS500's training part. PSNR of 9-1-5 trained
    alike, on 900,000 sub-images (Adam, 4e-3): 28.278 dB from leaves, 28.274 from T91, bicubic
    27.468. What a change costs there, or after 640,000 at 1e-3 (*), is in dB:

    =================================  =======  ================================  =======
    power -2, not -3 (*)                -0.14   less contrast, 0.05 to 0.2 (*)     -0.04
    r_min 3 (*)                         -0.04   more contrast, 0.2 to 0.4 (*)      -0.01
    r_min 1.5 (*)                       -0.01   elongation 1 (*)                   -0.03
    r_min 1 (*)                         -0.05   polygons alone                     -0.02
    no gradients                        -0.01   no waves (*)                       -0.02
    blurred, filter 0 to 0.1            -0.02   more, stronger waves (*)           -0.04
    blurred or sharpened a little (*)    0.00   three in ten edges soft (*)         0.00
    =================================  =======  ================================  =======

    Two seeds differ by about 0.01. ``python -m benchmarks.dead_leaves`` measures such changes; from
    a network trained for long (``--init``) none gained more than 0.015: see the README of
    ``npsrcnn/weights``.
    """

    r_min: tuple[float, float] = (1.0, 4.0)
    r_max: float = 150.0
    power: float = -3.0
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
        low, high = self.r_min
        if not 0.5 <= low <= high < self.r_max:
            raise UserError(
                f"radii from {low}..{high} to {self.r_max}: expected 0.5 <= r_min < r_max"
            )


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
        Number of images; the default gives 51,200 sub-images, in a second.
    shape : (rows, columns)
        In pixels.
    seed : int
    style : Style
        Default: ``Style()``.
    first : int
        Number of the first image. Each depends on its number and the seed, on no other image.

    Returns
    -------
    ndarray, (count, rows, columns, 3)
        uint8 RGB.

    Raises
    ------
    UserError
        A count or size below 1, a negative seed.
    """
    style = style or Style()
    if count < 1 or min(shape) < 1 or seed < 0:
        raise UserError(
            f"cannot make {counted(count, 'image')} of {shape[0]} x {shape[1]} pixels, seed {seed}"
        )
    images = np.empty((count, *shape, 3), np.uint8)
    parallel(_render, count, first, seed, style, images)
    return images


def write_dead_leaves(
    folder: str | Path, count: int, shape: tuple[int, int] = (256, 256), seed: int = 0
) -> None:
    """Write :func:`dead_leaves` to ``folder`` as leaves-00000.png and so on."""
    from PIL import Image

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, count, IMAGES_IN_MEMORY):
        some = min(IMAGES_IN_MEMORY, count - first)
        for i, image in enumerate(dead_leaves(some, shape, seed, first=first)):
            with write_atomically(folder / f"leaves-{first + i:05}.png") as path:
                Image.fromarray(image).save(path)


def _render(i: int, first: int, seed: int, style: Style, images: np.ndarray) -> None:
    """Write image number ``first + i`` to ``images[i]``."""
    rng = np.random.default_rng((seed, first + i))
    shape = images.shape[1:3]
    leaves = _draw_leaves(rng, shape, style)
    image, open_part = np.zeros((*shape, 3), np.float32), np.ones(shape, np.float32)
    _paint(leaves, np.empty((MAX_CORNERS, 3)), open_part, image)
    strength, noise = rng.uniform(*style.filter), rng.uniform(0, style.noise)
    if strength != 0:
        image = _filter(image, np.float32(strength))
    if noise > 0:
        image += np.float32(noise) * rng.standard_normal(image.shape, np.float32)
    images[i] = np.clip(np.rint(image * np.float32(255)), 0, 255)


# The columns of a table of leaves.
X, Y, A, B, ANGLE, CORNERS, BLUR, RED, GREEN, BLUE = range(10)
SLOPE_X, SLOPE_Y, AMPLITUDE, WAVE_X, WAVE_Y, PHASE = range(10, 16)
COLUMNS = 16
MAX_CORNERS = 6
CLOSED = 0.002  # open part of a pixel that no leaf need paint any more: half a step of 8 bits
DEPTH = 6  # leaves over each pixel, on average; what they leave open is e ** -DEPTH


def _draw_leaves(rng: np.random.Generator, shape: tuple[int, int], style: Style) -> np.ndarray:
    """Draw the leaves of an image, foremost first, and a background that covers everything."""
    height, width = shape
    radius = _draw_radii(rng, shape, style)
    n = len(radius)
    leaves = np.empty((n, COLUMNS))
    leaves[:, X] = rng.uniform(-1, 1, n) * (width / 2 + radius) + width / 2
    leaves[:, Y] = rng.uniform(-1, 1, n) * (height / 2 + radius) + height / 2
    stretch = np.exp(-np.abs(rng.standard_normal(n)) * style.elongation)
    leaves[:, A], leaves[:, B] = radius, np.maximum(radius * stretch, 0.5)
    leaves[:, ANGLE] = rng.uniform(0, np.pi, n)
    corners = rng.choice([3, 4, 4, 4, 5, MAX_CORNERS], n)
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


def _draw_radii(rng: np.random.Generator, shape: tuple[int, int], style: Style) -> np.ndarray:
    """Draw radii of leaves, as many as lie DEPTH deep on the image.

    Centres lie on a plane around the image. Of the leaves that touch it more are large than of
    all: in proportion to (height + 2r)(width + 2r).
    """
    r_min = np.exp(rng.uniform(*np.log(style.r_min)))
    r = np.geomspace(r_min, style.r_max, RADIUS_STEPS)
    touching = (shape[0] + 2 * r) * (shape[1] + 2 * r)
    weight = r ** (style.power + 1) * touching  # + 1: steps of r are in proportion to r
    weight /= weight.sum()
    covered = (weight * np.pi * r**2 / touching).sum()  # the part of the image that a leaf covers
    stretched = np.exp(-style.elongation * 0.8)  # 0.8: the mean of |x|, x Gaussian
    count = math.ceil(DEPTH / (covered * stretched))
    radii: np.ndarray = np.interp(rng.random(count), np.cumsum(weight), r)
    return radii


@jit
def _paint(leaves: np.ndarray, edges: np.ndarray, open_part: np.ndarray, image: np.ndarray) -> None:
    """Paint leaves on a black image (H, W, 3), each where those before it have left it open.

    ``open_part`` (H, W), at first 1, is the part of each pixel that is still open; ``edges`` is
    work space for the sides of a polygon: of each the normal, and the distance from the centre.
    """
    height, width = open_part.shape
    for n in range(len(leaves)):
        centre_x, centre_y = leaves[n, X], leaves[n, Y]
        a, b, blur = leaves[n, A], leaves[n, B], leaves[n, BLUR]
        corners = int(leaves[n, CORNERS])
        reach = max(a, b)
        if corners > 0:
            reach /= math.cos(math.pi / corners)
        reach += blur
        top, bottom = max(0, int(centre_y - reach)), min(height, int(centre_y + reach) + 2)
        first, stop = max(0, int(centre_x - reach)), min(width, int(centre_x + reach) + 2)
        if not _any_open(top, bottom, first, stop, open_part):
            continue
        cos, sin = math.cos(leaves[n, ANGLE]), math.sin(leaves[n, ANGLE])
        for k in range(corners):
            p = math.cos(2 * math.pi * k / corners) / a
            q = math.sin(2 * math.pi * k / corners) / b
            length = math.sqrt(p * p + q * q)
            edges[k, 0], edges[k, 1], edges[k, 2] = p / length, q / length, 1 / length
        amplitude = leaves[n, AMPLITUDE]
        for y in range(top, bottom):
            for x in range(first, stop):
                if open_part[y, x] < CLOSED:
                    continue
                dx, dy = x - centre_x, y - centre_y
                u, v = cos * dx + sin * dy, cos * dy - sin * dx
                if corners > 0:
                    distance = -math.inf
                    for k in range(corners):
                        side = edges[k, 0] * u + edges[k, 1] * v - edges[k, 2]
                        distance = max(distance, side)
                else:
                    distance = _distance_to_ellipse(u, v, a, b)
                cover = min(max(0.5 - distance / blur, 0.0), 1.0) * open_part[y, x]
                if cover <= 0:
                    continue
                light = leaves[n, SLOPE_X] * dx + leaves[n, SLOPE_Y] * dy
                if amplitude > 0:
                    wave = leaves[n, WAVE_X] * dx + leaves[n, WAVE_Y] * dy
                    light += amplitude * math.sin(wave + leaves[n, PHASE])
                for c in range(3):
                    color = min(max(leaves[n, RED + c] + light, 0.0), 1.0)
                    image[y, x, c] += cover * color
                open_part[y, x] -= cover


@jit
def _any_open(top: int, bottom: int, first: int, stop: int, open_part: np.ndarray) -> bool:
    for y in range(top, bottom):
        for x in range(first, stop):
            if open_part[y, x] >= CLOSED:
                return True
    return False


@jit
def _distance_to_ellipse(u: float, v: float, a: float, b: float) -> float:
    """Return the signed distance to an ellipse with half axes a, b, to first order; inside < 0."""
    p, q = u / a, v / b
    level = math.sqrt(p * p + q * q)
    if level == 0:
        return -min(a, b)
    return (level - 1) * level / math.sqrt((p / a) ** 2 + (q / b) ** 2)


def _filter(image: np.ndarray, k: float | np.float32) -> np.ndarray:
    """Filter an image (H, W, 3) by (k, 1 - 2k, k) along rows and columns, edges repeated."""
    wide = np.pad(image, ((1, 1), (0, 0), (0, 0)), mode="edge")
    image = (1 - 2 * k) * image + k * (wide[:-2] + wide[2:])
    wide = np.pad(image, ((0, 0), (1, 1), (0, 0)), mode="edge")
    filtered: np.ndarray = (1 - 2 * k) * image + k * (wide[:, :-2] + wide[:, 2:])
    return filtered
