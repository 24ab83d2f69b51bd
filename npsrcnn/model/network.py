"""SRCNN: three convolutions that restore what enlarging by bicubic interpolation lost.

Dong, Loy, He, Tang: "Learning a deep convolutional network for image super-resolution", ECCV 2014;
"Image super-resolution using deep convolutional networks", TPAMI 2016, arXiv 1501.00092, section 3:

1. patch extraction and representation, f1 x f1, n1 filters: F1(Y) = max(0, W1 * Y + B1);
2. non-linear mapping, f2 x f2, n2 filters:                  F2(Y) = max(0, W2 * F1(Y) + B2);
3. reconstruction, f3 x f3, c filters:                       F(Y)  = W3 * F2(Y) + B3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from npsrcnn import kernels, model_files
from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model.kept import Kept
from npsrcnn.model_files import Facts, shape_of
from npsrcnn.version import __version__
from npsrcnn.words import counted

WIDTHS = (64, 32, 16)  # n1, n2 and, in the paper's deeper networks, n22 (TPAMI section 4.3.3)
INITS = ("he", "bicubic", "paper")
ODD = (
    "filters have odd sides; an even filter has no middle pixel, so that its output lies half a "
    "pixel off"
)


Net = TypeVar("Net", bound="SRCNN")
T = TypeVar("T")


class SRCNN:
    """A network named by its filter sizes: "9-1-5", "9-3-5", "9-5-5", or deeper: "9-3-1-5".

    Parameters
    ----------
    name
        f1-f2-f3, the odd side of the filters of each layer, in pixels; two layers or more.
    channels
        c: 1 (grey, or Y alone) or 3 (RGB or YCbCr).
    n
        n1, n2, ...: filters of each layer but the last (which has c); default 64, 32, 16, 16...
    init
        "he": Gaussian of variance 2 / fan-in (He et al. 2015); "bicubic": the same, but the first
        map of each layer (one for each channel) carries the image through, and the last layer
        takes nothing else, so that what comes out is what goes in; "paper": Gaussian of standard
        deviation 0.001 (TPAMI section 3.3). Biases are zero in all.
    seed
        Of the random initial weights.
    device
        "cpu", "reference" (NumPy, slow, any float dtype), or "cuda".
    padding
        Before every layer of :meth:`forward`: "replicate" the edge (the authors) or "zeros"
        (most PyTorch ports).
    metadata
        What is known of the weights: "scale", "color" ("y", "rgb" or "ycbcr"), "recipe", ...

    Attributes
    ----------
    layers : list of (w, b)
        float32 arrays w (O, C, K, K) and b (O,).
    """

    def __init__(
        self,
        name: str = "9-1-5",
        channels: int = 1,
        *,
        n: Sequence[int] | None = None,
        init: str = "he",
        seed: int = 0,
        device: str = "cpu",
        padding: str = "replicate",
        metadata: Facts | None = None,
    ) -> None:
        sizes = parse_name(name)
        if channels not in (1, 3):
            raise UserError(f"channels must be 1 or 3, not {channels!r}")
        if init not in INITS:
            raise UserError(f"no initial weights {init!r}; there are {', '.join(INITS)}")
        if n is None:
            n = [*WIDTHS, *[WIDTHS[-1]] * len(sizes)][: len(sizes) - 1]
        least = channels if init == "bicubic" else 1
        if len(n) != len(sizes) - 1 or min(n, default=least) < least:
            raise UserError(
                f"n must give {counted(len(sizes) - 1, 'filter count')} of at least {least} for "
                f"{name}, not {n}"
            )
        rng = np.random.default_rng(seed)
        widths = [channels, *n, channels]
        layers = []
        for f, fan, out in zip(sizes, widths[:-1], widths[1:], strict=True):
            deviation = 0.001 if init == "paper" else np.sqrt(2 / (fan * f * f))
            w = rng.standard_normal((out, fan, f, f)) * deviation
            layers.append((w.astype(np.float32), np.zeros(out, np.float32)))
        if init == "bicubic":
            _carry_through(layers, channels)
        self._set(layers, device, padding, metadata)

    @classmethod
    def from_layers(
        cls: type[Net],
        layers: Sequence[tuple[np.ndarray, np.ndarray]],
        *,
        device: str = "cpu",
        padding: str = "replicate",
        metadata: Facts | None = None,
        dtype: DTypeLike = np.float32,
    ) -> Net:
        """Make a network of given weights [(w, b), ...], copied and converted to ``dtype``.

        float32, or with device="reference" also float64, to check arithmetic to the last digits.

        Raises
        ------
        UserError
            Shapes that do not follow one another, or values that are not finite.
        """
        net = cls.__new__(cls)
        if np.dtype(dtype) != np.float32 and device != "reference":
            raise UserError(f'weights are float32; device="reference" keeps others, "{device}" not')
        net._set(_checked(layers, dtype), device, padding, metadata)
        return net

    def _set(self, layers: Layers, device: str, padding: str, metadata: Facts | None) -> None:
        if padding not in kernels.PADDINGS:
            raise UserError(f"no padding {padding!r}; there are {', '.join(kernels.PADDINGS)}")
        self.layers = layers
        self.device = device
        self.kernels = kernels.choose(device)
        self.padding = padding
        self.metadata = dict(metadata or {})
        self._kept = Kept()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process is made from: all but kernels, and what is kept."""
        made_again = ("kernels", "_kept")
        return {key: value for key, value in vars(self).items() if key not in made_again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, kernels=kernels.choose(state["device"]), _kept=Kept())

    def grown(self, name: str, n: Sequence[int] | None = None) -> SRCNN:
        """Return this function as a network of larger filters and more maps, to go on training.

        Each filter lies in the middle of a larger one, zeros around it: "9-1-5" is also a "9-5-5".
        Maps beyond those of this network are zero, and count for nothing: they learn once
        :func:`npsrcnn.model.dead_maps.revive_dead_maps` lets them share the work of others.

        Parameters
        ----------
        name
            The filter sizes.
        n
            Maps of each layer but the last; default: as many as now.

        Raises
        ------
        UserError
            Another number of layers, a smaller filter, or fewer maps.
        """
        sizes, now = parse_name(name), parse_name(self.name)
        n = self.n if n is None else tuple(n)
        if len(sizes) != len(now) or any(f < k for f, k in zip(sizes, now, strict=True)):
            raise UserError(f"{self.name} does not grow into {name}")
        if len(n) != len(self.n) or any(m < k for m, k in zip(n, self.n, strict=True)):
            raise UserError(f"maps {self.n} do not grow into {n}")
        layers = []
        outputs, inputs = (*n, self.channels), (self.channels, *n)
        for f, o, c, (w, b) in zip(sizes, outputs, inputs, self.layers, strict=True):
            border = (f - w.shape[2]) // 2
            maps = (0, o - len(b))
            around = (border, border)
            w = np.pad(w, (maps, (0, c - w.shape[1]), around, around))
            layers.append((w, np.pad(b, maps)))
        return SRCNN.from_layers(
            layers,
            device=self.device,
            padding=self.padding,
            metadata=self.metadata,
            dtype=self.layers[0][0].dtype,
        )

    @property
    def name(self) -> str:
        """The filter sizes, as in the paper: "9-1-5"."""
        return "-".join(str(w.shape[2]) for w, _ in self.layers)

    @property
    def n(self) -> tuple[int, ...]:
        """Number of filters of each layer but the last: n1, n2, ..."""
        return tuple(len(b) for _, b in self.layers[:-1])

    @property
    def channels(self) -> int:
        """Number of channels of the image, c."""
        return len(self.layers[-1][1])

    @property
    def color(self) -> str:
        """The meaning of the channels: "y", "rgb" or "ycbcr"."""
        return str(self.metadata.get("color", "y" if self.channels == 1 else "rgb"))

    @property
    def keeps_y(self) -> bool:
        """Whether only its Cb and Cr are to be taken, and Y as it was."""
        return self.metadata.get("restores") == "chroma"

    @property
    def scale(self) -> int | None:
        """The enlargement the weights were trained for, where that is known."""
        return self.metadata.get("scale")

    @property
    def margin(self) -> int:
        """Pixels that valid convolutions take from height and width: f1 + f2 + f3 - 3."""
        return sum(w.shape[2] - 1 for w, _ in self.layers)

    @property
    def halo(self) -> int:
        """Pixels around a part of an image that :meth:`forward` needs to restore that part."""
        return self.kernels.halo(self.layers)

    def forward(
        self,
        x: np.ndarray,
        *,
        origin: tuple[int, int] = (0, 0),
        size: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Restore an image enlarged by bicubic interpolation; its size is kept.

        Parameters
        ----------
        x
            (H, W) or (N, c, H, W), float32, values around 0..1.
        origin, size
            Of a part of a larger image: the row and column where it begins there, and the size of
            the larger image. What is :attr:`halo` pixels away from the part's edges, or at an
            edge of the image itself, comes out as in the larger image, on CPU and GPU to the
            last bit.

        Returns
        -------
        numpy.ndarray
            float32, the shape of ``x``; not clipped. (device="reference" keeps float64.)

        Raises
        ------
        UserError
            Another shape, an empty image, or values that are not finite.
        """
        x = np.asarray(x)
        batch = x[None, None] if x.ndim == 2 else x
        self._check(batch, "image")
        y = self.derived(self.kernels.prepare)(self._converted(batch), self.padding, origin)
        return y[0, 0] if x.ndim == 2 else y

    def derived(self, compute: Callable[[Layers], T]) -> T:
        """Return ``compute(self.layers)``, which is kept until the layers change, also in place.

        Keep to functions of modules: each new lambda is computed, and kept, for itself.
        """
        return self._kept.result(compute, self.layers)

    def loss_and_grads(
        self, inputs: np.ndarray, labels: np.ndarray, l1: float = 0.0
    ) -> tuple[float, Layers]:
        """Compute the loss of a batch and its gradients to all weights and biases, without padding.

        Parameters
        ----------
        inputs
            (N, c, H, W): sub-images, blurred.
        labels
            (N, c, H - margin, W - margin): what they should become, in the centre.
        l1
            Weight of the sum of all maps between the layers, the l1 norm of the codes, for each
            sub-image: with it the loss is that of sparse coding, ``1/2 |error|^2 + l1 |codes|_1``.

        Returns
        -------
        loss, [(dw, db), ...]
            Caffe's EuclideanLoss, sum of squared differences / 2N (so the paper's rates mean
            what they meant), and its gradients. float32; device="reference" keeps float64.
        """
        inputs, labels = np.asarray(inputs), np.asarray(labels)
        self._check(inputs, "inputs")
        self._check(labels, "labels")
        n, c, h, w = inputs.shape
        if labels.shape != (n, c, h - self.margin, w - self.margin):
            raise UserError(
                f"labels are {labels.shape}, but {self.name} makes "
                f"{(n, c, h - self.margin, w - self.margin)} of inputs {inputs.shape}"
            )
        if not 0 <= l1 < np.inf:
            raise UserError(f"l1 must be a finite number of at least 0, not {l1}")
        return self.kernels.loss_and_grads(
            self.layers, self._converted(inputs), self._converted(labels), l1
        )

    def save(self, path: str | Path) -> None:
        """Write the weights and what is known of them; the suffix names the format.

        See :func:`npsrcnn.model_files.write`: .npz (npsrcnn's own), .mat, .pth, .onnx.
        """
        model_files.write(path, self.layers, self.facts)

    @property
    def facts(self) -> Facts:
        """The facts that a file of the network holds, in the order in which they are written."""
        return {
            **self.metadata,
            "npsrcnn": __version__,
            **shape_of(self.layers),
            "scale": self.scale,
            "padding": self.padding,
            "color": self.color,
        }

    def _check(self, x: np.ndarray, what: str) -> None:
        if x.ndim != 4 or x.shape[1] != self.channels or x.size == 0:
            raise UserError(
                f"{what} of shape {x.shape}: expected (N, {self.channels}, H, W)"
                + (" or (H, W)" if self.channels == 1 and what == "image" else "")
                + ", not empty"
            )
        if x.dtype.kind != "f":
            raise UserError(f"{what} of dtype {x.dtype}: expected float32 in 0..1")
        if not np.isfinite(x).all():
            raise UserError(f"{what} with values that are not finite (NaN or infinity)")

    def _converted(self, x: np.ndarray) -> np.ndarray:
        dtype = x.dtype if self.device == "reference" else np.float32
        return np.ascontiguousarray(x, dtype)

    def __repr__(self) -> str:
        scale = f", scale={self.scale}" if self.scale else ""
        return f"SRCNN({self.name!r}, channels={self.channels}, n={self.n}{scale})"


def _carry_through(layers: Layers, channels: int) -> None:
    """Let the first ``channels`` maps of each layer be the image, and the result the last ones."""
    layers[-1][0][:] = 0
    for w, _ in layers:
        middle = w.shape[2] // 2
        w[:channels] = 0
        w[range(channels), range(channels), middle, middle] = 1


def parse_name(name: str) -> tuple[int, ...]:
    """Return the filter sizes in a name: (9, 1, 5) of "9-1-5".

    Raises
    ------
    UserError
        Not numbers joined by hyphens, fewer than two, one that is not in 1..31, or an even one.
    """
    if not re.fullmatch(r"\d{1,2}(-\d{1,2})+", str(name)):
        raise UserError(f"no network {name!r}: filter sizes joined by hyphens, as in 9-1-5")
    sizes = tuple(int(part) for part in name.split("-"))
    if not all(1 <= f <= 31 for f in sizes):
        raise UserError(f"no network {name!r}: filter sizes are 1 to 31")
    if any(f % 2 == 0 for f in sizes):
        raise UserError(f"no network {name!r}: {ODD}")
    return sizes


def _checked(layers: Sequence[tuple[np.ndarray, np.ndarray]], dtype: DTypeLike) -> Layers:
    """Copy the layers to ``dtype``, or raise an error that names the layer at fault."""
    if not layers:
        raise UserError("a network has at least one layer")
    result: Layers = []
    for i, (w, b) in enumerate(layers, 1):
        w = np.array(w, dtype, order="C")
        b = np.array(b, dtype, order="C")
        if w.ndim != 4 or w.shape[2] != w.shape[3] or b.shape != w.shape[:1] or w.size == 0:
            raise UserError(
                f"layer {i} has weights {w.shape} and biases {b.shape}: "
                "expected (O, C, K, K) and (O,)"
            )
        if w.shape[2] % 2 == 0:
            raise UserError(f"layer {i} has filters {w.shape[2]} pixels wide: {ODD}")
        if result and w.shape[1] != len(result[-1][1]):
            raise UserError(
                f"layer {i} takes {counted(w.shape[1], 'channel')}, but layer {i - 1} "
                f"makes {len(result[-1][1])}"
            )
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise UserError(f"layer {i} has weights that are not finite (NaN or infinity)")
        result.append((w, b))
    if result[0][0].shape[1] != len(result[-1][1]):
        raise UserError(
            f"a network from {result[0][0].shape[1]} to "
            f"{counted(len(result[-1][1]), 'channel')}: "
            "expected the same number"
        )
    return result
