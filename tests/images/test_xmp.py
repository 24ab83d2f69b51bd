"""XMP of pictures that are turned or enlarged."""

from __future__ import annotations

import re

import numpy as np
import pytest

from npsrcnn.images import xmp
from npsrcnn.images.exif import UPRIGHT
from npsrcnn.runtime.apart import call_apart

HEAD = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description '


def written(values, form):
    """As attributes, or as elements."""
    if form == "attributes":
        return HEAD + b" ".join(b'%s="%d"' % pair for pair in values.items()) + b"/>"
    return HEAD + b">" + b"".join(b"<%s>%d</%s>" % (k, v, k) for k, v in values.items())


SIZES = {
    b"tiff:ImageWidth": (96, 144), b"tiff:ImageLength": (81, 122),
    b"exif:PixelXDimension": (96, 144), b"exif:PixelYDimension": (81, 122),
    b"GPano:CroppedAreaImageWidthPixels": (96, 144),
    b"GPano:CroppedAreaImageHeightPixels": (81, 122),
    b"GPano:FullPanoWidthPixels": (200, 300), b"GPano:FullPanoHeightPixels": (101, 152),
    b"GPano:CroppedAreaLeftPixels": (0, 0), b"GPano:CroppedAreaTopPixels": (10, 15),
    b"stDim:w": (96, 144), b"stDim:h": (81, 122),
}  # fmt: skip


@pytest.mark.parametrize("form", ["attributes", "elements"])
def test_sizes_are_those_of_the_larger_picture(form):
    before = written({key: old for key, (old, _) in SIZES.items()}, form)
    after = xmp.resized(before, 1.5, (122, 144))
    assert after == written({key: new for key, (_, new) in SIZES.items()}, form)


def test_all_else_stays():
    other = HEAD + b'GPano:ProjectionType="equirectangular" my:tiff:ImageWidths="5" a="96">'
    assert xmp.resized(other, 2, (2, 2)) == other


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_turned_picture_is_upright_and_has_no_thumbnail_of_before(orientation):
    thumbnail = b"<xmp:Thumbnails><rdf:Alt>\nsecret</rdf:Alt></xmp:Thumbnails>"
    before = HEAD + b"tiff:Orientation='%d'>" % orientation + thumbnail
    after = xmp.turned(before, orientation)
    assert b"tiff:Orientation='1'" in after
    assert (b"secret" in after) == (orientation == 1)
    assert xmp.turned(None, 3) is None and xmp.turned("text", 1) == b"text"
    assert re.sub(b"\\d", b"", after.replace(thumbnail, b"")) == re.sub(
        b"\\d", b"", before.replace(thumbnail, b"")
    )


def test_where_the_subject_is():
    def text(*numbers):
        items = b"".join(b"<rdf:li>%d</rdf:li>" % n for n in numbers)
        area = b"<exif:SubjectArea>\n<rdf:Seq>%s</rdf:Seq></exif:SubjectArea>" % items
        return HEAD + b">" + area + b"<a>10</a>"

    assert xmp.resized(text(10, 20, 30), 1.5, (2, 2)) == text(15, 30, 45)
    assert xmp.turned(text(10, 20, 30), 1) == text(10, 20, 30)
    assert xmp.turned(text(10, 20, 30), 6) == HEAD + b"><a>10</a>"


def region_of(picture):
    """The middle and the sides of what is not 0, as parts of the picture's sides."""
    (top, bottom), (left, right) = (
        (places[0], places[-1] + 1)
        for places in (np.flatnonzero(picture.any(axis)) for axis in (1, 0))
    )
    height, width = picture.shape
    x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
    return {b"x": x, b"y": y, b"w": (right - left) / width, b"h": (bottom - top) / height}


@pytest.mark.parametrize("form", ["attributes", "elements"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_turn_with_the_picture(orientation, form):
    picture = np.zeros((40, 80), np.uint8)
    picture[4:12, 10:30] = 1  # a face
    upright = UPRIGHT.get(orientation, lambda a: a)(picture)

    def text(values, shape):
        sides = b"<mwg-rs:AppliedToDimensions stDim:w='%d' stDim:h='%d'/>" % shape[::-1]
        if form == "elements":
            parts = [b"<stArea:%s>%g</stArea:%s>" % (k, values[k], k) for k in sorted(values)]
            return sides + b"<mwg-rs:Area>" + b"".join(parts) + b"</mwg-rs:Area>"
        parts = [b"stArea:%s='%g'" % (k, values[k]) for k in sorted(values)]
        return sides + b"<mwg-rs:Area %s stArea:unit='normalized'/>" % b" ".join(parts)

    def told(text):
        return dict(re.findall(rb"(st(?:Dim|Area):\w)(?:='|>)([\d.]+)", text))

    turned = told(xmp.turned(text(region_of(picture), picture.shape), orientation))
    assert turned == told(text(region_of(upright), upright.shape)) and len(turned) == 6


BEGINNINGS = (
    *(b"<xmp:Thumbnails>", b"<exif:SubjectArea>", b"<mwg-rs:Area ", b"<hdrgm:a>", b"<hdrgm:a "),
    *(b"<Container:Directory>", b"<Container:Item ", b"<rdf:li Item:Semantic", b"<rdf:li>"),
)


@pytest.mark.parametrize(
    ("function", "more"),
    [
        (xmp.turned, (6,)),
        (xmp.resized, (2, (4, 4))),
        (xmp.without_gain_map, ()),
        (xmp.with_gain_map_bytes, (7,)),
    ],
)
def test_what_begins_often_and_never_ends_takes_no_longer_than_it_is(function, more):
    """Going on to the end for each beginning would take hours; call_apart ends it in a minute."""
    text = b"".join(beginning * 60_000 for beginning in BEGINNINGS)
    assert call_apart(function, text, *more) == text
