"""Measure by the paper's protocol: make the input of a method, compare its output.

Y of MATLAB's rgb2ycbcr; cropped to whole multiples of the scale; bicubic down and up in floating
point; the result rounded to 8 bits, as many pixels as the scale shaved from every side. See TPAMI
section 4, and :func:`protocol` for all of it in one line.

With JPEG the small image, or at scale 1 the image itself, is rounded to 8 bits, compressed and
decoded before it is enlarged; at scale 1 the whole picture is measured, as in ICCV 2015 (ARCNN).
With a CRF its Y is filmed by x264 instead: see :mod:`npsrcnn.pixels.filming`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from npsrcnn import images
from npsrcnn.errors import UsageError, UserError
from npsrcnn.pixels.color import as_native, luma, rgb2ycbcr, ycbcr2rgb
from npsrcnn.pixels.filming import FRAMES, MOST_CRF, Shot, film
from npsrcnn.pixels.jpeg import compress
from npsrcnn.pixels.metrics import WINDOW, psnr, psnr_b, shave, ssim
from npsrcnn.pixels.resize import imresize, modcrop

PEAK = 255
VELOCITY = 3, -2  # of what is filmed, in pixels of the large picture


@dataclass(frozen=True)
class EvaluationImage:
    """One test image: the input that a method enlarges, and the original it is measured against.

    Each property is computed when first read, and kept: evaluating many times, as in training,
    costs no more than the network. Floats are float64, 0 black and 1 white of the 8 bits.
    """

    name: str
    picture: np.ndarray  # uint8 (H, W) or (H, W, 3), both sides multiples of the scale
    scale: int
    edge: str = "clamp"
    jpeg: int | None = None
    crf: int | None = None

    @classmethod
    def from_array(
        cls,
        image: np.ndarray,
        scale: int,
        edge: str = "clamp",
        name: str = "",
        jpeg: int | None = None,
        crf: int | None = None,
    ) -> EvaluationImage:
        """Crop an image to whole multiples of ``scale``, and convert it to 8 bits.

        Parameters
        ----------
        image
            (H, W) or (H, W, 3), uint8, uint16, or a float type in 0..1.
        scale
            2 or more; with ``jpeg`` also 1.
        edge
            "clamp" or "mirror": how bicubic interpolation extends the image at its edges.
        name
            Of the image, for rows of results and errors.
        jpeg
            Quality, 1 to 100, at which the small image is compressed as JPEG; None: it is not.
        crf
            CRF, 0 to 51, at which Y is filmed by x264; None: it is not.

        Raises
        ------
        UserError
            The image is too small to be compared at this scale; see also :func:`check_compression`.
        """
        check_compression(scale, jpeg, crf)
        image = as_native(image)
        if image.dtype.kind == "f":
            image = rounded(image)
        elif image.dtype == np.uint16:
            image = rounded(image / np.iinfo(np.uint16).max)
        height, width = image.shape[:2]
        least = 2 * shaved_at(scale) + WINDOW
        if min(height - height % scale, width - width % scale) < least:
            raise UserError(
                f"{name or 'image'}: {width} x {height} pixels are too few to compare at "
                f"x{scale}; it takes {-(-least // scale) * scale} on each side"
            )
        return cls(name, modcrop(image, scale), scale, edge, jpeg, crf)

    @classmethod
    def from_file(
        cls,
        path: Path,
        scale: int,
        edge: str = "clamp",
        jpeg: int | None = None,
        crf: int | None = None,
    ) -> EvaluationImage:
        """Read an image file; see :meth:`from_array`.

        Raises
        ------
        UserError
            The file is no image that can be read, or one that is too small.
        """
        return cls.from_array(images.read_array(path), scale, edge, path.name, jpeg, crf)

    @cached_property
    def truth(self) -> np.ndarray:
        """Y of the image, uint8 (H, W); a grey image is taken as it is."""
        return luma(self.picture)

    @cached_property
    def low(self) -> np.ndarray:
        """Y of the small image, (H / scale, W / scale)."""
        if self.crf is not None:
            shot = Shot("libx264", self.crf, VELOCITY, FRAMES // 2)
            return film(self.truth / PEAK, self.scale, shot) / PEAK
        return self._down(self.truth) if self._decoded is None else luma(self._decoded)

    @cached_property
    def bicubic(self) -> np.ndarray:
        """Y enlarged by bicubic interpolation, (H, W): what SRCNN restores."""
        return self._up(self.low)

    @cached_property
    def truth_ycbcr(self) -> np.ndarray:
        """Y, Cb and Cr of the image, uint8 (H, W, 3)."""
        if self.picture.ndim == 3:
            return rgb2ycbcr(self.picture)
        grey = np.full_like(self.picture, 128)
        return np.stack([self.picture, grey, grey], axis=2)

    @cached_property
    def bicubic_ycbcr(self) -> np.ndarray:
        """Y, Cb and Cr enlarged by bicubic interpolation, (H, W, 3)."""
        if self._decoded is None:
            small = self._down(self.truth_ycbcr[..., 1:])
        else:
            small = rgb2ycbcr(_in_rgb(self._decoded))[..., 1:]
        return np.concatenate([self.bicubic[..., None], self._up(small)], axis=2)

    @cached_property
    def bicubic_rgb(self) -> np.ndarray:
        """R, G and B enlarged by bicubic interpolation, (H, W, 3)."""
        if self._decoded is None:
            return self._up(self._down(_in_rgb(self.picture)))
        return self._up(_in_rgb(self._decoded))

    @cached_property
    def psnr_bicubic(self) -> float:
        """PSNR of Y of :attr:`bicubic`, in dB."""
        return self.psnr(self.bicubic)

    @cached_property
    def ssim_bicubic(self) -> float:
        """SSIM of Y of :attr:`bicubic`."""
        return self.ssim(self.bicubic)

    def psnr(self, y: np.ndarray) -> float:
        """Compute PSNR in dB of Y (H, W), rounded to 8 bits and shaved."""
        return psnr(self._shaved(rounded(y)), self._shaved(self.truth), PEAK)

    def ssim(self, y: np.ndarray) -> float:
        """Compute SSIM of Y (H, W), rounded to 8 bits and shaved."""
        return ssim(self._shaved(rounded(y)), self._shaved(self.truth), PEAK)

    def psnr_b(self, y: np.ndarray) -> float:
        """Compute PSNR-B in dB of Y (H, W), rounded to 8 bits and shaved."""
        return psnr_b(self._shaved(rounded(y)), self._shaved(self.truth), PEAK)

    def psnr_color(self, ycbcr: np.ndarray) -> dict[str, float]:
        """Compute PSNR in dB of Cb, of Cr, of Y, Cb and Cr together, and of R, G and B together.

        TPAMI Table 5 prints that of Y, Cb and Cr together under the name RGB.
        """
        mine, truth = rounded(ycbcr), self.truth_ycbcr
        pairs = {
            "cb": (mine[..., 1], truth[..., 1]),
            "cr": (mine[..., 2], truth[..., 2]),
            "ycbcr": (mine, truth),
            "rgb": (rounded(ycbcr2rgb(ycbcr)), self.picture),
        }
        return {k: psnr(self._shaved(a), self._shaved(b), PEAK) for k, (a, b) in pairs.items()}

    def in_color(self, restored: np.ndarray) -> np.ndarray:
        """Return Y, Cb and Cr, (H, W, 3), as restored; Cb and Cr bicubic where only Y was."""
        if restored.ndim == 3:
            return restored
        return np.concatenate([restored[..., None], self.bicubic_ycbcr[..., 1:]], axis=2)

    def _shaved(self, image: np.ndarray) -> np.ndarray:
        return shave(image, shaved_at(self.scale))

    @cached_property
    def _decoded(self) -> np.ndarray | None:
        """The small image, grey or RGB, after JPEG; None without it."""
        if self.jpeg is None:
            return None
        small = self.picture if self.scale == 1 else rounded(self._down(self.picture))
        return compress(small, self.jpeg) / PEAK

    def _down(self, image: np.ndarray) -> np.ndarray:
        return imresize(image / PEAK, 1 / self.scale, edge=self.edge)

    def _up(self, small: np.ndarray) -> np.ndarray:
        return small if self.scale == 1 else imresize(small, self.scale, edge=self.edge)


def rounded(image: np.ndarray) -> np.ndarray:
    """Round floats in 0..1 to 8 bits, as MATLAB's ``uint8(255 * image)``."""
    return np.floor(image * PEAK + 0.5).clip(0, PEAK).astype(np.uint8)


def check_compression(scale: int, jpeg: int | None, crf: int | None = None) -> None:
    """Raise UserError for numbers that there are not, for both, and for scale 1 without either."""
    if jpeg is None and scale == 1:
        raise UsageError("scale 1 needs --jpeg: at its own size a picture loses nothing else")
    if jpeg is not None and crf is not None:
        raise UsageError("images are filmed without JPEG before that: give --jpeg or --crf")
    if jpeg is not None and not 1 <= jpeg <= 100:
        raise UserError(f"JPEG quality {jpeg}: expected a whole number from 1 to 100")
    if crf is not None and not 0 <= crf <= MOST_CRF:
        raise UserError(f"CRF {crf}: expected a whole number from 0 to {MOST_CRF}")


def shaved_at(scale: int) -> int:
    """Return how many pixels of every side are not measured."""
    return scale if scale > 1 else 0


def input_name(scale: int) -> str:
    """Return what the input of a method is called: "bicubic", or "JPEG" at scale 1."""
    return "bicubic" if scale > 1 else "JPEG"


def protocol(scale: int, edge: str, jpeg: int | None = None, crf: int | None = None) -> str:
    """Describe in one line how the figures are measured."""
    edges = f"edges {'clamped' if edge == 'clamp' else 'mirrored'}"
    if crf is not None:
        made = f"modcrop; filmed moving, bicubic down, antialiased, in 8 bits, x264 at CRF {crf}, "
        made += f"{FRAMES} frames of which the middle one is measured; bicubic up, {edges}"
    elif jpeg is None:
        made = f"modcrop; bicubic down and up, antialiased, in floating point, {edges}"
    else:
        made = f"JPEG of quality {jpeg} by libjpeg, colour 4:2:0, grey to networks in 16..235"
        if scale > 1:
            made = f"modcrop; bicubic down, antialiased, {edges}; rounded to 8 bits; {made}; "
            made += "bicubic up in floating point"
    shaved = f"{shaved_at(scale)} pixels shaved" if scale > 1 else "whole picture"
    blocks = "" if scale > 1 else "; PSNR-B of 8x8 blocks"
    return (
        f"x{scale}; Y as MATLAB's rgb2ycbcr; {made}; rounded to 8 bits; {shaved}; "
        f"PSNR with peak {PEAK}; SSIM 11x11, sigma 1.5{blocks}"
    )


def _in_rgb(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else np.stack([image] * 3, axis=2)
