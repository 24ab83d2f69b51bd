"""Fixtures of enlarging: a file in memory and block by block."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from random_inputs import random_net
from tiff_files import LAYOUT

from npsrcnn.images.scenes import TILE
from npsrcnn.upscaling import streaming
from npsrcnn.upscaling.choice import Chosen
from npsrcnn.upscaling.files import EnlargeOptions, Job, enlarge_file


@pytest.fixture
def enlarged(tmp_path, monkeypatch):
    """Enlarge a.tif both ways; its pages as arrays, and the outcome."""

    def both(scale=2, nets=None, page=None, strip=False):
        nets = [random_net("3-1-3")] if nets is None else nets
        source, memory, blocks = (tmp_path / name for name in ("a.tif", "b.tif", "c.tif"))
        options = EnlargeOptions(Chosen(nets), scale, page=page, strip=strip)
        outcome = enlarge_file(Job(source, memory, fixed_format=True), options)
        monkeypatch.setattr(streaming, "LARGEST", TILE)
        scene = {"memory": 10**9, "page": page, "strip": strip}
        streaming.enlarge_scene(source, blocks, nets, scale, **scene)
        with tifffile.TiffFile(memory) as one, tifffile.TiffFile(blocks) as other:
            assert len(one.pages) == len(other.pages)
            pages = [page.asarray() for page in one.pages]
            for mine, theirs, samples in zip(one.pages, other.pages, pages, strict=True):
                np.testing.assert_array_equal(theirs.asarray(), samples)
                assert theirs.dtype == mine.dtype
                tags = [
                    {tag.code: tag.value for tag in page.tags if tag.code not in LAYOUT}
                    for page in (mine, theirs)
                ]
                assert tags[0] == tags[1]
        return pages, outcome

    return both
