"""Files that are damaged, foreign, too large or malicious: one line each, and little memory."""

from __future__ import annotations

import json
import os
import struct
import sys
import zipfile
import zlib

import numpy as np
import pytest
from networks import asymmetric

from npsrcnn import load
from npsrcnn.errors import UserError
from npsrcnn.model_files.common import LIMIT

# Random weights are no SRCNN, and those of other programs are looked at.
pytestmark = pytest.mark.filterwarnings("ignore::npsrcnn.model.foreign.ModelWarning")


def refused(path, says=None):
    with pytest.raises(UserError, match=says) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message) < 500
    return message


@pytest.mark.parametrize(
    ("begin", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".mat", ".pth"])
def test_what_a_download_leaves_in_place_of_a_file(tmp_path, suffix, begin, says):
    (tmp_path / f"net{suffix}").write_bytes(begin)
    refused(tmp_path / f"net{suffix}", says)


@pytest.fixture
def good(rng, tmp_path):
    """A small network as .npz and .mat."""
    net = asymmetric(rng, "3-1-3", n=[3, 2], scale=3)
    for suffix in (".npz", ".mat"):
        net.save(tmp_path / f"good{suffix}")
    return tmp_path


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_files_cut_short_at_any_place(suffix, good):
    data = (good / f"good{suffix}").read_bytes()
    path = good / f"cut{suffix}"
    for length in range(0, len(data) - 1, max(1, len(data) // 150)):
        path.write_bytes(data[:length])
        refused(path)


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
@pytest.mark.filterwarnings("ignore:Duplicate")  # scipy's, of two variables with one name
def test_files_with_any_byte_changed(suffix, good, rng):
    """They load, where the byte says nothing of weights, or are refused; nothing else happens."""
    data = (good / f"good{suffix}").read_bytes()
    path = good / f"changed{suffix}"
    refusals = 0
    for place in range(0, len(data), max(1, len(data) // 400)):
        changed = bytearray(data)
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            load(path)
        except UserError:
            refusals += 1
    assert refusals > 100  # both formats have checksums


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".pth", ".pt"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a model\n" * 50,
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"PK\x05\x06" + bytes(18),
        bytes(1000),
        b"\x80\x02cos\nsystem\n(X\x05\x00\x00\x00touchtR.",
    ],
    ids=["empty", "text", "png", "empty zip", "zeros", "bare pickle"],
)
def test_files_of_something_else(suffix, content, tmp_path):
    (tmp_path / f"file{suffix}").write_bytes(content)
    refused(tmp_path / f"file{suffix}")


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".pth"])
def test_files_too_large_are_not_read(suffix, tmp_path):
    path = tmp_path / f"large{suffix}"
    with open(path, "wb") as file:
        file.truncate(LIMIT + (1 << 20))  # takes no room on the disk
    refused(path, "65 MiB is too large for an SRCNN")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read anything")
def test_files_one_may_not_read(good):
    (good / "good.npz").chmod(0)
    with pytest.raises(PermissionError):
        load(good / "good.npz")


# .npz


def save(path, about=None, **arrays):
    facts = {"scale": 3, "padding": "replicate", **(about or {})}
    np.savez(path, about=np.array(json.dumps(facts)), **arrays)


def two_layers(rng):
    return {
        "w1": rng.standard_normal((4, 1, 3, 3)),
        "b1": rng.standard_normal(4),
        "w2": rng.standard_normal((1, 4, 3, 3)),
        "b2": rng.standard_normal(1),
    }


BAD_ARRAYS = [
    ({"b2": None}, "weights w2, but no biases b2"),
    ({"w1": None}, "not a model of npsrcnn"),
    ({"w1": np.full((4, 1, 3, 3), np.nan)}, "layer 1 has weights that are not finite"),
    ({"b1": np.full(4, -np.inf)}, "layer 1 has weights that are not finite"),
    ({"w1": np.full((4, 1, 3, 3), 1e200)}, "layer 1 has weights that are not finite"),
    ({"w1": np.ones((4, 1, 3, 5))}, "layer 1 has weights"),
    ({"w1": np.ones((4, 1, 4, 4))}, "layer 1 has filters 4 pixels wide: filters have odd sides"),
    ({"w1": np.ones((4, 1, 9))}, "layer 1 is not of real numbers"),
    ({"w1": np.ones((5, 1, 3, 3))}, "layer 1 has weights"),
    ({"w1": np.ones((4, 1, 3, 3), complex)}, "layer 1 is not of real numbers"),
    ({"w1": np.full((4, 1, 3, 3), "a")}, "layer 1 is not of real numbers"),
    ({"w2": np.ones((1, 3, 3, 3))}, "layer 2 takes 3 channels, but layer 1 makes 4"),
    ({"w2": np.ones((2, 4, 3, 3)), "b2": np.ones(2)}, "from 1 to 2 channels"),
    ({"w1": np.ones((4, 0, 3, 3))}, "layer 1 is not of real numbers"),
]


@pytest.mark.parametrize(("changes", "says"), BAD_ARRAYS)
def test_npz_whose_arrays_are_no_network(changes, says, rng, tmp_path):
    arrays = {k: v for k, v in {**two_layers(rng), **changes}.items() if v is not None}
    save(tmp_path / "net.npz", **arrays)
    refused(tmp_path / "net.npz", says)


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"network": "9-1-5"}, r"another network .* \(3-3\)"),
        ({"channels": 3}, "another channels"),
        ({"n": [4, 4]}, "another n "),
        ({"scale": "three"}, "scale 'three'"),
        ({"scale": -3}, "scale -3"),
        ({"scale": True}, "scale True"),
        ({"scale": float("nan")}, "scale nan"),
        ({"color": "rgb"}, "color 'rgb', which 1 channel cannot be"),
        ({"color": ["y"]}, "color"),
        ({"padding": "mirror"}, "no padding 'mirror'"),
        ({"padding": [1]}, "no padding"),
    ],
)
def test_npz_whose_text_does_not_fit(about, says, rng, tmp_path):
    save(tmp_path / "net.npz", about, **two_layers(rng))
    refused(tmp_path / "net.npz", says)


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000, "3", np.array(["{}"]), np.array(3)])
def test_npz_whose_text_is_none(text, rng, tmp_path):
    np.savez(tmp_path / "net.npz", about=np.array(text), **two_layers(rng))
    refused(tmp_path / "net.npz")


def test_npz_with_python_objects_runs_nothing(rng, tmp_path):
    class Malicious:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'OWNED')!r}, 'w')",)

    for name in ("w1", "about"):
        arrays = {**two_layers(rng), "about": np.array("{}")}
        arrays[name] = np.array([Malicious()], object)
        np.savez(tmp_path / "net.npz", **arrays)
        refused(tmp_path / "net.npz", "not an .npz file, or damaged")
    assert not (tmp_path / "OWNED").exists()


def npy(header):
    """The start of an array, with any header and no numbers."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000, 1, 3, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 1, 3, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 1, 3, 3), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4'}",
        "__import__('os').system('true')",
        "(" * 5000,
    ],
)
def test_npz_with_headers_that_lie(header, tmp_path):
    with zipfile.ZipFile(tmp_path / "net.npz", "w") as archive:
        archive.writestr("w1.npy", npy(header))
    refused(tmp_path / "net.npz", "not an .npz file, or damaged")


def test_archives_that_unpack_to_mountains(tmp_path):
    for name, member in (("bomb.npz", "w1.npy"), ("bomb.pth", "x/data.pkl")):
        with (
            zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(member, "w") as file,
        ):
            for _ in range(LIMIT // (1 << 20) + 1):
                file.write(bytes(1 << 20))
        assert (tmp_path / name).stat().st_size < 1 << 20
        refused(tmp_path / name, "unpacks to 65 MiB, too large for an SRCNN")


# .mat


def theirs(rng, **changes):
    variables = {
        "weights_conv1": rng.standard_normal((9, 4)),
        "biases_conv1": rng.standard_normal((4, 1)),
        "weights_conv2": rng.standard_normal((4, 9)),
        "biases_conv2": rng.standard_normal((1, 1)),
        **changes,
    }
    return {k: v for k, v in variables.items() if v is not None}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"weights_conv1": None, "biases_conv1": None}, "no variables weights_conv1"),
        ({"biases_conv2": None}, "biases_conv2 is missing"),
        ({"weights_conv1": np.ones((8, 4))}, r"weights_conv1 is \(1, 8, 4\): not the authors'"),
        ({"weights_conv2": np.ones((4, 10))}, "not the authors' layout of a last layer"),
        ({"weights_conv2": np.ones((3, 9))}, "layer 2 takes 3 channels"),
        ({"weights_conv2": np.ones((4, 9, 1, 2))}, "not the authors' layout"),
        ({"weights_conv1": np.full((9, 4), np.nan)}, "not finite"),
        ({"weights_conv1": np.full((9, 4), 1e300)}, "not finite"),
        ({"weights_conv1": "a text"}, "weights_conv1 is char"),
        ({"weights_conv1": np.array([[1, "a"]], object)}, "weights_conv1 is cell"),
        ({"weights_conv1": {"a": 1}}, "weights_conv1 is struct"),
        ({"weights_conv1": np.ones((9, 4), np.int8)}, "weights_conv1 is int8"),
        ({"weights_conv1": np.ones((9, 4)) * 1j}, "complex"),
        ({"biases_conv1": np.ones((4, 1)) * 1j}, "complex"),
        ({"npsrcnn": "{"}, "not JSON"),
        ({"npsrcnn": '{"network": "9-1-5"}'}, "another network"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_mat_that_is_no_network(changes, says, compressed, rng, tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "net.mat", theirs(rng, **changes), do_compression=compressed)
    refused(tmp_path / "net.mat", says)


def test_mat_of_matlab_7_3(tmp_path):
    (tmp_path / "net.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(600))
    refused(tmp_path / "net.mat", "save it in MATLAB with the option '-v7'")


def test_mat_that_unpacks_to_a_mountain(rng, tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "net.mat", theirs(rng), do_compression=True)
    packed = zlib.compress(bytes(LIMIT + 8))
    bomb = struct.pack("<II", 15, len(packed)) + packed
    with open(tmp_path / "net.mat", "ab") as file:
        file.write(bomb)
    refused(tmp_path / "net.mat", "unpacks to more than 64 MiB")


def test_mat_with_sizes_that_lie(rng, tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "net.mat", theirs(rng))
    data = (tmp_path / "net.mat").read_bytes()
    shape, huge = struct.pack("<ii", 9, 4), struct.pack("<ii", 1 << 20, 1 << 20)
    assert data.count(shape) == 1
    (tmp_path / "net.mat").write_bytes(data.replace(shape, huge))
    refused(tmp_path / "net.mat", "more than 64 MiB of weights")
