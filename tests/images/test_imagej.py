"""ImageJ's own tags, as tifffile writes and reads them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from random_inputs import random_image

from npsrcnn.images import Picture, imagej, read, write


@pytest.mark.parametrize("order", ["<", ">"])
def test_labels_and_ranges_are_kept_and_regions_are_not(tmp_path, rng, order):
    metadata = {"Labels": ["first ä"], "Ranges": (0.0, 4000.0), "Info": "a dish", "ROI": b"Iout",
                "LUTs": [np.arange(768, dtype=np.uint8).reshape(3, 256)]}  # fmt: skip
    plane = random_image(rng, (20, 30), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", plane, imagej=True, byteorder=order, metadata=metadata)
    found = read(tmp_path / "a.tif")
    larger = Picture(np.zeros((40, 60), np.uint16), None, found.metadata.enlarged(2, (40, 60)))
    write(tmp_path / "b.tif", larger)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        kept = file.imagej_metadata
    assert kept["Labels"] == "first ä" and kept["Ranges"] == (0.0, 4000.0)
    assert kept["Info"] == "a dish" and "ROI" not in kept
    np.testing.assert_array_equal(kept["LUTs"], metadata["LUTs"][0])


@pytest.mark.parametrize(
    ("data", "lengths"),
    [(b"", []), (b"nonsense", [8]), (b"IJIJ" + b"labl\0\0\0\5", [12, 1]), (b"IJIJ", [4])],
)
def test_damage_is_dropped(data, lengths):
    assert imagej.little_endian(data, lengths) == (b"", [])
