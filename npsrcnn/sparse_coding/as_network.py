"""Write sparse coding as a convolutional network: equal numbers, by three convolutions.

TPAMI section 3.2: "we show that the sparse-coding-based SR method can be viewed as a
convolutional neural network". Step by step, for a dictionary D (d, K) of f1 x f1 atoms, codes a,
and L at least the largest eigenvalue of D^T D:

- D^T (y - mean of y) for every patch y is a convolution with the atoms less their means
  (:func:`analysis_filters`);
- a soft threshold is two ReLUs, a non-negative one is one;
- the first step of non-negative ISTA, max(0, (D^T y - lambda) / L), is convolution, bias, ReLU:
  layer 1 of SRCNN (:func:`first_step`);
- every further step, a <- shrink((I - D^T D / L) a + D^T y / L, lambda / L), is a 1x1 convolution
  with a shrinkage (:func:`further_step`), where D^T y travels along in maps of its own;
- D_high a for every pixel, averaged where the patches overlap, is a convolution with the flipped
  atoms of D_high, divided by f3^2 (:func:`synthesis_filters`).

:func:`as_srcnn` joins them. The paper's layer 2 stands for the whole iterative solver; one 1x1
layer is in truth one further step, so that 9-1-5 is two steps of ISTA and 9-1-1-5 three.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model.network import SRCNN
from npsrcnn.sparse_coding import checks, pursuit
from npsrcnn.sparse_coding.patches import around_each_pixel, average_around_each_pixel, remove_mean


def analysis_filters(d: np.ndarray, mean_removed: bool = True) -> np.ndarray:
    """Make filters (K, 1, f, f) that project every patch on the atoms of a dictionary (f^2, K).

    With ``mean_removed`` they project the patch less its mean: the filters are then the atoms
    less theirs (TPAMI section 3.2), since <d, y - mean(y)> = <d - mean(d), y>.
    """
    d = checks.dictionary(d, unit=False)
    size = checks.side(len(d), "atoms")
    if mean_removed:
        d = d - d.mean(axis=0)
    return np.ascontiguousarray(d.T).reshape(-1, 1, size, size)


def synthesis_filters(d: np.ndarray) -> np.ndarray:
    """Make filters (1, K, f, f) that turn codes into patches and average them where they overlap.

    A pixel gets from the code u rows above and v columns to its left the entry (u, v) of the
    patch: the atoms flipped, over f^2 (TPAMI section 3.1.3, equation 3).
    """
    d = checks.dictionary(d, unit=False)
    size = checks.side(len(d), "atoms")
    flipped = d.T.reshape(1, -1, size, size)[..., ::-1, ::-1]
    return np.ascontiguousarray(flipped) / (size * size)


def first_step(
    d: np.ndarray, lam: float, bound: float, mean_removed: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Make layer 1: w, b whose ReLU is the first step of non-negative ISTA from zero.

    w = D^T / L, b = -lambda / L (TPAMI section 3.2).
    """
    w = analysis_filters(d, mean_removed) / bound
    return w, np.full(len(w), -checks.penalty(lam) / bound, w.dtype)


def further_step(d: np.ndarray, bound: float) -> np.ndarray:
    """Make the 1x1 filters (K, 2K, 1, 1) that map a and D^T y / L to the next code, not yet shrunk.

    a + D^T (y - D a) / L = [I - D^T D / L, I] [a; D^T y / L] (Beck and Teboulle 2009, equation
    3.5; Gregor and LeCun 2010, equation 2, call the two matrices S and W).
    """
    d = checks.dictionary(d)
    eye = np.eye(d.shape[1], dtype=d.dtype)
    return np.concatenate([eye - d.T @ d / bound, eye], axis=1)[:, :, None, None]


def super_resolve(
    image: np.ndarray,
    d_low: np.ndarray,
    d_high: np.ndarray,
    lam: float,
    *,
    steps: int = 2,
    signed: bool = False,
    bound: float | None = None,
) -> np.ndarray:
    """Restore an image by sparse coding of its patches; :func:`as_srcnn` makes a network of it.

    The patch around every pixel, its mean removed, gets a code by ``steps`` of ISTA on ``d_low``;
    ``d_high`` times the code is the detail that the patch lacks, and its mean over all patches
    that cover a pixel is added to the image.

    Parameters
    ----------
    image
        (H, W), enlarged by bicubic interpolation; float32 or float64.
    d_low, d_high, lam, steps, signed, bound
        As for :func:`as_srcnn`.

    Returns
    -------
    numpy.ndarray
        (H, W), of the image's dtype.
    """
    d_low, d_high = _pair(d_low, d_high)
    patches, _ = remove_mean(around_each_pixel(image, checks.side(len(d_low), "atoms")))
    codes = pursuit.ista(d_low, patches, lam, steps, signed=signed, bound=bound)
    details = codes @ d_high.T.astype(codes.dtype)
    restored: np.ndarray = image + average_around_each_pixel(details, image.shape)
    return restored


def as_srcnn(
    d_low: np.ndarray,
    d_high: np.ndarray,
    lam: float,
    *,
    steps: int = 2,
    signed: bool = False,
    bound: float | None = None,
    device: str = "cpu",
) -> SRCNN:
    """Make the network whose output is that of :func:`super_resolve`, at the image's edge too.

    Parameters
    ----------
    d_low
        (f1^2, K), atoms of unit norm.
    d_high
        (f3^2, K): the detail that patches of f3 x f3 lack, for each atom.
    lam
        lambda, at least 0.
    steps
        Steps of ISTA: 1 makes f1-f3, 2 makes f1-1-f3, 3 makes f1-1-1-f3.
    signed
        False: codes a >= 0, as those of SRCNN.
    bound
        L; default: the largest eigenvalue of D^T D.
    device
        Device of the network; "reference" keeps float64, and agrees with :func:`super_resolve` to
        1e-9.

    Returns
    -------
    SRCNN
        Edges replicated. It can be trained as any other.

    Raises
    ------
    UserError
        Dictionaries that do not fit each other or are not square patches, atoms of ``d_low`` that
        are not of unit norm, lambda below zero.

    Notes
    -----
    ReLUs let only half of a signed number through, so the image travels in two maps, x = max(0, x)
    - max(0, -x), and so does what drives every step, D^T y / L, less lambda / L where codes are
    non-negative: the upper half is then the code after one step. Hence n1 = 2K + 2 and n2 = K + 2:
    the paper's 64 and 32 maps have room for two steps with 30 atoms. Signed codes are two maps
    each: n1 = 4K + 2, n2 = 2K + 2.
    """
    layers = as_layers(d_low, d_high, lam, steps=steps, signed=signed, bound=bound)
    dtype = np.float64 if device == "reference" else np.float32
    return SRCNN.from_layers(layers, device=device, dtype=dtype)


def as_layers(
    d_low: np.ndarray,
    d_high: np.ndarray,
    lam: float,
    *,
    steps: int = 2,
    signed: bool = False,
    bound: float | None = None,
) -> Layers:
    """Make the float64 layers [(w, b), ...] of :func:`as_srcnn`."""
    d_low, d_high = (d.astype(np.float64) for d in _pair(d_low, d_high))
    steps = checks.count(steps, "steps")
    bound = pursuit.step_bound(d_low) if bound is None else bound
    w, shrinkage = first_step(d_low, lam, bound)
    mixing = further_step(d_low, bound)[..., 0, 0]
    # Matrices that read from the maps before (at first, the pixels of a patch): the code; the
    # drive of each step, D^T y / L, less lambda / L where codes are non-negative; the pixel.
    drive, drive_bias = w.reshape(len(w), -1), 0 * shrinkage if signed else shrinkage
    code, pixel = np.zeros_like(drive), _centre(w.shape[2]).reshape(1, -1)
    layers: Layers = []
    for step in range(1, steps + 1):
        proposal = mixing @ np.concatenate([code, drive])
        if signed:
            codes = [(proposal, shrinkage), (-proposal, shrinkage)]
        else:
            codes = [(proposal, drive_bias)]
        carried = [(drive, drive_bias), (-drive, -drive_bias)]
        if step == steps:
            carried = []
        elif step == 1 and not signed:
            codes = []  # the upper half of the carried drive
        maps = [*codes, *carried, (pixel, np.zeros(1)), (-pixel, np.zeros(1))]
        matrix = np.concatenate([m for m, _ in maps])
        shape = w.shape[1:] if step == 1 else (matrix.shape[1], 1, 1)
        layers.append((matrix.reshape(-1, *shape), np.concatenate([b for _, b in maps])))

        ends = np.cumsum([len(m) for m, _ in maps])
        read = np.split(np.eye(ends[-1]), ends[:-1])
        pixel = read[-2] - read[-1]
        if carried:
            drive, drive_bias = read[len(codes)] - read[len(codes) + 1], 0 * shrinkage
        code = read[0] - read[1] if signed else read[0]
    last = synthesis_filters(d_high)
    w = np.tensordot(last[0], code, axes=(0, 0)) + _centre(last.shape[2])[0, 0, ..., None] * pixel
    layers.append((np.ascontiguousarray(np.moveaxis(w, -1, 0))[None], np.zeros(1)))
    return layers


def residual(net: SRCNN) -> SRCNN:
    """Make the SRCNN that adds the output of ``net`` to its input.

    The image travels in two more maps for each channel, x = max(0, x) - max(0, -x), as in
    :func:`as_srcnn`: 60 and 30 maps become 62 and 32. Where the last layer of ``net`` is zero,
    the result is bicubic interpolation, from which training can begin.

    Returns
    -------
    SRCNN
        A copy; it can be trained as any other.
    """
    image = np.eye(net.channels)
    both = np.concatenate([image, -image])
    layers, last = [], len(net.layers) - 1
    for i, (w, b) in enumerate(net.layers):
        carried = image if last == 0 else {0: both, last: both.T}.get(i, np.eye(len(both)))
        more = 0 if i == last else len(both)
        wide = np.pad(w, ((0, more), (0, 0 if i == 0 else len(both)), (0, 0), (0, 0)))
        centre = (w.shape[2] - 1) // 2
        wide[-len(carried) :, -carried.shape[1] :, centre, centre] += carried
        layers.append((wide, np.pad(b, (0, more))))
    return SRCNN.from_layers(
        layers,
        device=net.device,
        padding=net.padding,
        metadata=net.metadata,
        dtype=net.layers[0][0].dtype.type,
    )


def _centre(size: int) -> np.ndarray:
    """Make the filter (1, 1, size, size) with which a padded convolution copies its input."""
    w = np.zeros((1, 1, size, size))
    w[0, 0, (size - 1) // 2, (size - 1) // 2] = 1
    return w


def _pair(d_low: np.ndarray, d_high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d_low, d_high = checks.dictionary(d_low), checks.dictionary(d_high, unit=False)
    checks.side(len(d_low), "atoms")
    checks.side(len(d_high), "atoms")
    if d_low.shape[1] != d_high.shape[1]:
        raise UserError(
            f"{d_low.shape[1]} low- and {d_high.shape[1]} high-resolution atoms: not the same"
        )
    return d_low, d_high
