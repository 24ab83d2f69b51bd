"""Networks for compressed pictures of any quality, between those that ship.

Two networks of which one was trained on from the other may lie in one valley of the loss, so that
the mean of their weights is a good network too: it restores what lies between what both were
trained for (X. Wang, K. Yu, C. Dong, X. Tang, C. C. Loy, "Deep network interpolation for continuous
imagery effect transition", CVPR 2019). So a few networks for each scale serve all qualities from 1
to 100.

What suffers between two networks is brightness: halfway between those for quality 91 and 76 at x2,
flat areas come out up to 3 of 255 levels too dark, which costs 0.5 dB of PSNR. That error is nearly
a straight line over the grey levels, and so the last layer can take it back: see
:func:`keep_brightness`. On Set5 at x2 and quality 85 the two networks have 34.39 and 34.40 dB,
between them it is 33.95 dB before that, and 34.50 after.
"""

from __future__ import annotations

import math

import numpy as np

from npsrcnn import model_files
from npsrcnn.layers import Layers
from npsrcnn.model import shipped
from npsrcnn.model_files import Facts
from npsrcnn.pixels.jpeg import strength_of_quality

MIXES_WITH = "mixes_with"  # the fact: stronger weights whose mean with these is a network
LUMA_LEVELS = np.arange(16, 236)  # of 255: the range of Y
INHERITED = (
    "scale",
    "color",
    "padding",
    "data",
    "licence",
    "jpeg",
    "restores",
)  # from the nearer neighbour


def read_between(name: str) -> tuple[Layers, Facts]:
    """Read the weights for a name that ends in a quality, as "9-5-5-x2-q62".

    Parameters
    ----------
    name
        A family of weights that ship, with any quality from 1 to 100.

    Returns
    -------
    layers, facts
        The weights of two neighbours in proportion, where their mean is known to be a network
        too; else those of the nearer one. "between" names the neighbours, "share" is that of the
        second.

    Raises
    ------
    UserError
        Nothing of that name ships.
    """
    match = shipped.NAME_WITH_QUALITY.fullmatch(name)
    anchors = shipped.anchors(match[1]) if match else []
    between = any(anchor.quality for anchor in anchors) and name not in [a.name for a in anchors]
    if not match or not between or not 1 <= int(match[2]) <= 100:
        return model_files.read(shipped.path_of(name))
    strength = strength_of_quality(int(match[2]))
    stronger = next((a for a in anchors if a.strength >= strength), anchors[-1])
    weaker = next((a for a in reversed(anchors) if a.strength <= strength), anchors[0])
    share = share_of(strength, weaker.strength, stronger.strength)
    if stronger.name not in weaker.facts.get(MIXES_WITH, ()):
        share = float(round(share))  # the nearer one
    layers, facts = model_files.read(weaker.path)
    if share > 0:
        others, other_facts = model_files.read(stronger.path)
        mean = [
            ((1 - share) * w + share * v, (1 - share) * b + share * c)
            for (w, b), (v, c) in zip(layers, others, strict=True)
        ]
        layers = mean if share < 1 else others
        if share < 1 and len(layers[-1][1]) == 1:
            layers = keep_brightness(layers)
        facts = other_facts if share > 0.5 else facts
    facts = {key: facts[key] for key in INHERITED if key in facts}
    neighbours = [weaker.name, stronger.name]
    return layers, {**facts, "quality": int(match[2]), "between": neighbours, "share": share}


def flat_response(layers: Layers, levels: np.ndarray) -> np.ndarray:
    """Compute what a network makes of flat areas, away from edges.

    Of an area of one level a convolution takes the sum of its filter, so that no pixels are needed.

    Parameters
    ----------
    layers
        [(w, b), ...], of c channels.
    levels : ndarray, (n,)
        Of the areas, the same in all channels.

    Returns
    -------
    ndarray, (c, n), float64
    """
    maps = np.repeat(levels[None].astype(np.float64), layers[0][0].shape[1], axis=0)
    for depth, (w, b) in enumerate(layers):
        maps = w.sum(axis=(2, 3), dtype=np.float64) @ maps + b[:, None]
        if depth < len(layers) - 1:
            maps = maps.clip(0, None)
    return maps


def keep_brightness(layers: Layers) -> Layers:
    """Return layers whose last one takes back what is linear in the error on flat areas.

    The response to flat areas is fitted by ``a + b v`` over the levels v of Y, from 16 to 235 of
    255; the last layer is changed so that the fit becomes ``v``.
    """
    levels = LUMA_LEVELS / 255
    b, a = np.polyfit(levels, flat_response(layers, levels)[0], 1)
    *first, (w, bias) = layers
    return [*first, ((w / b).astype(w.dtype), ((bias - a) / b).astype(bias.dtype))]


def share_of(strength: float, weaker: float, stronger: float) -> float:
    """Return the share of the stronger of two neighbours, from 0 to 1, for a strength between.

    Steps of a table act by their ratio, so the share is linear in the logarithm of the strength.
    Weights for clean pictures, of strength 0, lie in another valley: up to
    :data:`npsrcnn.model.shipped.CLEAN_SHARE` of the stronger one's strength (quality 96 beside 91)
    they are taken as they are, and from there the others.
    """
    if strength <= weaker or stronger <= weaker:
        return 0.0
    if weaker == 0:
        return float(strength > shipped.CLEAN_SHARE * stronger)
    return math.log(strength / weaker) / math.log(stronger / weaker)
