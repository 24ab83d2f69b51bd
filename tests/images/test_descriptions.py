"""Descriptions of TIFF files that tell sizes."""

from __future__ import annotations

import pytest

from npsrcnn.images import descriptions

OME = (
    '<?xml version="1.0"?><OME xmlns="x"><Image><Pixels SizeX="{}" SizeY="{}" SizeZ="5" '
    'PhysicalSizeX="{}" PhysicalSizeY="{}" PhysicalSizeZ="2.0" Type="uint16"/></Image></OME>'
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OME.format(96, 80, 0.5, 1e-07), OME.format(192, 160, 0.25, 5e-08)),
        ('{"shape": [80, 96]}', '{"shape": [160, 192]}'),
        ('{"shape": [5, 80, 96]}', '{"shape": [5, 160, 192]}'),
        ('{"shape": [5, 80, 96, 3], "axes": "ZYXS"}',
         '{"shape": [5, 160, 192, 3], "axes": "ZYXS"}'),
        ('{"shape": [3, 80, 96]}', '{"shape": [3, 160, 192]}'),
        ('{"shape": "?"}', '{"shape": "?"}'),
        ('{"shape": [7, 9]}', '{"shape": [7, 9]}'),  # of something else
        ("ImageJ=1.54f\nunit=um\n", "ImageJ=1.54f\nunit=um\n"),
        ("a field, SizeX=96", "a field, SizeX=96"),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_larger_picture(before, after):
    assert descriptions.resized(before, 2, (160, 192)) == after


def test_one_page_is_no_stack():
    text = "ImageJ=1.54f\nimages=4\nslices=4\nhyperstack=true\nunit=um\nloop=false\n"
    assert descriptions.of_one_page(text) == "ImageJ=1.54f\nunit=um\n"
    assert descriptions.of_one_page(OME) == descriptions.of_one_page('{"shape": [5, 2, 2]}') == ""
    assert descriptions.of_one_page("a field") == "a field"
