"""Networks for compressed pictures of any quality, between those that ship.

Two networks of which one was trained on from the other lie in one valley of the loss, so that the
mean of their weights is a good network too: it restores what lies between what both were trained
for (X. Wang, K. Yu, C. Dong, X. Tang, C. C. Loy, "Deep network interpolation for continuous imagery
effect transition", CVPR 2019). So five networks for each scale serve all qualities from 1 to 100.
"""

from __future__ import annotations

import math

from npsrcnn import model_files
from npsrcnn.layers import Layers
from npsrcnn.model import shipped
from npsrcnn.model_files import Facts
from npsrcnn.pixels.jpeg import strength_of_quality

INHERITED = ("scale", "color", "padding", "data", "licence", "jpeg")  # from the nearer neighbour


def read_between(name: str) -> tuple[Layers, Facts]:
    """Read the weights for a name that ends in a quality, as "9-5-5-x2-q62".

    Parameters
    ----------
    name
        A family of weights that ship, with any quality from 1 to 100.

    Returns
    -------
    layers, facts
        The weights of two neighbours in proportion, or of one file where the quality is its own,
        or beyond all. "between" names the neighbours, "share" is the second one's.

    Raises
    ------
    UserError
        Nothing of that name ships.
    """
    match = shipped.NAME_WITH_QUALITY.fullmatch(name)
    anchors = shipped.anchors(match[1]) if match else []
    if not match or not any(anchor.quality for anchor in anchors) or not 1 <= int(match[2]) <= 100:
        return model_files.read(shipped.path_of(name))
    strength = strength_of_quality(int(match[2]))
    stronger = next((a for a in anchors if a.strength >= strength), anchors[-1])
    weaker = next((a for a in reversed(anchors) if a.strength <= strength), anchors[0])
    share = share_of(strength, weaker.strength, stronger.strength)
    layers, facts = model_files.read(weaker.path)
    if share > 0:
        others, other_facts = model_files.read(stronger.path)
        layers = [
            ((1 - share) * w + share * v, (1 - share) * b + share * c)
            for (w, b), (v, c) in zip(layers, others, strict=True)
        ]
        facts = other_facts if share > 0.5 else facts
    facts = {key: facts[key] for key in INHERITED if key in facts}
    between = [weaker.name, stronger.name]
    return layers, {**facts, "quality": int(match[2]), "between": between, "share": share}


def share_of(strength: float, weaker: float, stronger: float) -> float:
    """Return the share of the stronger of two neighbours, from 0 to 1, for a strength between.

    Steps of a table act by their ratio, so the share is linear in the logarithm of the strength;
    next to clean pictures, whose strength is 0, in the strength itself.
    """
    if strength <= weaker or stronger <= weaker:
        return 0.0
    if weaker == 0:
        return strength / stronger
    return math.log(strength / weaker) / math.log(stronger / weaker)
