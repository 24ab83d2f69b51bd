"""Patches, dictionaries and pursuit, each against an oracle that shares no code with it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn

from npsrcnn.errors import UserError
from npsrcnn.runtime.threads import set_num_threads
from npsrcnn.sparse_coding import dictionaries, patches, pursuit

LAMBDA = 0.4


@pytest.fixture
def problem(rng):
    """A dictionary (12, 30) of unit atoms, and 150 patches: more than two blocks."""
    return dictionaries.unit(rng.standard_normal((12, 30))), rng.standard_normal((150, 12))


# Patches


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (5, 1), (4, 3), (7, 2), (13, 5)])
def test_extract_cuts_as_slicing_does_and_averaging_inverts_it(rng, size, stride):
    image = rng.standard_normal((13, 20))
    cut = patches.extract(image, size, stride)
    tops = [*range(0, 13 - size, stride), 13 - size]
    lefts = [*range(0, 20 - size, stride), 20 - size]
    expected = [image[y : y + size, x : x + size].ravel() for y in tops for x in lefts]
    assert np.array_equal(cut, expected)
    back = patches.overlap_average(cut, image.shape, size, stride)
    assert np.allclose(back, image, rtol=0, atol=1e-14)  # a mean of up to 25 equal numbers


def test_overlap_average_is_the_mean_of_the_patches_over_a_pixel(rng):
    values = rng.standard_normal((4 * 3, 9))  # every other of 9 rows and 7 columns
    total, count = np.zeros((9, 7)), np.zeros((9, 7))
    for i, (y, x) in enumerate((y, x) for y in (0, 2, 4, 6) for x in (0, 2, 4)):
        total[y : y + 3, x : x + 3] += values[i].reshape(3, 3)
        count[y : y + 3, x : x + 3] += 1
    assert np.allclose(patches.overlap_average(values, (9, 7), 3, 2), total / count, atol=1e-15)


def test_features_of_yang(rng):
    image = rng.standard_normal((9, 11))
    dx, dy, dxx, dyy = patches.gradients(image)
    assert np.allclose(dx[:, 1:-1], image[:, 2:] - image[:, :-2])
    assert np.allclose(dy[1:-1], image[2:] - image[:-2])
    assert np.allclose(dxx[:, 2:-2], image[:, 4:] - 2 * image[:, 2:-2] + image[:, :-4])
    assert np.allclose(dyy[2:-2], image[4:] - 2 * image[2:-2] + image[:-4])
    assert not patches.gradients(np.full((5, 5), 0.25)).any()
    maps = patches.extract(patches.gradients(image), 3, 2)
    assert maps.shape[1] == 4 * 9 and np.array_equal(maps[0, 9:18], dy[:3, :3].ravel())
    centred, means = patches.remove_mean(maps)
    assert np.allclose(centred.sum(axis=1), 0) and np.allclose(centred + means[:, None], maps)


# Dictionaries


def test_dct_is_the_cosine_transform(rng):
    patch = rng.standard_normal((6, 6))
    ours = dictionaries.dct(6).T @ patch.ravel()
    assert np.allclose(np.sort(ours), np.sort(dctn(patch, norm="ortho").ravel()))
    overcomplete = dictionaries.dct(5, 64)
    assert overcomplete.shape == (25, 64)
    assert np.allclose(np.linalg.norm(overcomplete, axis=0), 1)
    assert np.allclose(overcomplete[:, 1:].sum(axis=0), 0)


@pytest.mark.parametrize("size", [1, 2, 8, 9])
def test_haar_is_orthonormal_and_starts_with_the_mean(size):
    d = dictionaries.haar(size)
    assert np.allclose(d.T @ d, np.eye(size * size))
    assert np.allclose(d[:, 0], 1 / size)
    if size == 2:
        expected = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]).T / 2
        assert np.allclose(d, expected)


def test_pca_diagonalises_the_covariance(rng):
    data = rng.standard_normal((500, 9)) @ rng.standard_normal((9, 9))
    d = dictionaries.pca(data)
    covariance = d.T @ data.T @ data @ d
    assert np.allclose(covariance, np.diag(np.diagonal(covariance)), atol=1e-9 * covariance.max())
    assert (np.diff(np.diagonal(covariance)) < 0).all()
    energy = np.diagonal(covariance).cumsum() / np.trace(covariance)
    kept = dictionaries.pca(data, energy=0.9).shape[1]
    assert energy[kept - 1] >= 0.9 > energy[kept - 2]


@pytest.fixture(scope="module")
def sparse_data():
    """Patches that are sums of 3 of 24 atoms of 16 values: a dictionary can be found again."""
    rng = np.random.default_rng(5)
    atoms = dictionaries.unit(rng.standard_normal((16, 24)))
    codes = np.zeros((2000, 24))
    used = rng.random(codes.shape).argsort(axis=1)[:, :3]
    np.put_along_axis(codes, used, rng.standard_normal(used.shape), axis=1)
    return atoms, codes @ atoms.T


def found(atoms: np.ndarray, d: np.ndarray) -> float:
    """The part of the atoms that a dictionary has, up to sign, within 10 degrees."""
    return float((np.abs(atoms.T @ d).max(axis=1) > 0.985).mean())


def test_ksvd_finds_the_atoms_again(sparse_data):
    atoms, data = sparse_data
    d = dictionaries.ksvd(data, 24, 3, iterations=20)
    assert np.allclose(np.linalg.norm(d, axis=0), 1)
    assert found(atoms, dictionaries.samples(data, 24)) < 0.3
    assert found(atoms, d) > 0.85  # Aharon et al. 2006, figure 3: some 90 per cent


def test_online_learning_finds_the_atoms_again(sparse_data):
    atoms, data = sparse_data
    d = dictionaries.online(data, 24, 0.3, batch=100, epochs=10)
    assert np.allclose(np.linalg.norm(d, axis=0), 1)
    assert found(atoms, d) > 0.85


def test_coupled_dictionaries_share_their_codes(sparse_data):
    atoms, data = sparse_data
    codes = pursuit.omp(atoms, data, 3)
    high = np.random.default_rng(1).standard_normal((5, 24))
    low, up = dictionaries.coupled(data, codes @ high.T, 24, 0.1, batch=100, epochs=5)
    assert np.allclose(np.linalg.norm(low, axis=0), 1)
    rest = codes @ high.T - pursuit.omp(low, data, 3) @ up.T
    assert (rest**2).sum() < 0.3 * ((codes @ high.T) ** 2).sum()


def test_least_squares_finds_the_high_resolution_dictionary(rng):
    d, codes = rng.standard_normal((7, 10)), rng.standard_normal((200, 10))
    assert np.allclose(dictionaries.high_resolution(codes, codes @ d.T), d, atol=1e-4)


def test_ksvd_replaces_atoms_that_nothing_uses():
    data = np.concatenate([np.eye(6)] * 4)
    d = dictionaries.ksvd(data, 9, 1, iterations=3)  # at most six directions are of use
    assert np.isfinite(d).all() and np.allclose(np.linalg.norm(d, axis=0), 1)
    assert (np.abs(d).max(axis=1) == 1).all()


# Pursuit


def test_soft_threshold_by_hand():
    x = np.array([-2.0, -0.5, 0.0, 0.25, 3.0])
    assert np.array_equal(pursuit.soft_threshold(x, 0.5), [-1.5, 0, 0, 0, 2.5])
    assert np.array_equal(pursuit.soft_threshold(x, 0.5, signed=False), [0, 0, 0, 0, 2.5])


@pytest.mark.parametrize("signed", [True, False])
def test_lasso_satisfies_the_conditions_of_its_minimum(problem, signed):
    d, y = problem
    codes = pursuit.lasso(d, y, LAMBDA, signed=signed, tolerance=1e-9, limit=100_000)
    slope = (y - codes @ d.T) @ d  # must be lambda sign(a) where a is not 0, and within it else
    assert 0.05 < (codes != 0).mean() < 0.5 and (signed or codes.min() == 0)
    assert np.allclose(slope[codes != 0], LAMBDA * np.sign(codes[codes != 0]), atol=1e-6)
    other = slope[codes == 0]
    assert (np.abs(other) if signed else other).max() <= LAMBDA + 1e-6


@pytest.mark.parametrize("signed", [True, False])
def test_ista_by_its_definition(problem, signed):
    d, y = problem
    bound = np.linalg.eigvalsh(d.T @ d).max()
    history, a, values = [], np.zeros((150, 30)), []
    codes = pursuit.ista(d, y, LAMBDA, 5, signed=signed, history=history)
    for _ in range(5):
        values.append(pursuit.objective(d, y, a, LAMBDA))
        a = a + (y - a @ d.T) @ d / bound
        a = np.sign(a) * np.maximum(np.abs(a) - LAMBDA / bound, 0)
        a = a if signed else np.maximum(a, 0)
    assert np.allclose(codes, a, atol=1e-13)
    assert np.allclose(history, [*values, pursuit.objective(d, y, a, LAMBDA)], rtol=1e-12)


@pytest.mark.parametrize("signed", [True, False])
def test_ista_and_fista_converge_as_they_promise(problem, signed):
    d, y = problem
    best = pursuit.lasso(d, y, LAMBDA, signed=signed, tolerance=1e-9, limit=100_000)
    least, distance = pursuit.objective(d, y, best, LAMBDA), (best**2).sum()
    bound = pursuit.step_bound(d)
    k = np.arange(1, 101)
    slow, fast = [], []
    pursuit.ista(d, y, LAMBDA, 100, signed=signed, history=slow)
    pursuit.fista(d, y, LAMBDA, 100, signed=signed, history=fast)
    slow, fast = np.array(slow), np.array(fast)
    assert (np.diff(slow) <= 0).all()
    assert (slow[1:] - least <= bound * distance / (2 * k)).all()  # Beck and Teboulle, theorem 3.1
    assert (fast[1:] - least <= 2 * bound * distance / (k + 1) ** 2).all()  # theorem 4.4
    assert fast[-1] - least < 0.1 * (slow[-1] - least)


def test_omp_by_its_definition(problem):
    d, y = problem
    codes = pursuit.omp(d, y, 4)
    for patch, code in zip(y, codes, strict=True):
        chosen, rest = [], patch
        for _ in range(4):
            chosen.append(int(np.abs(d.T @ rest).argmax()))
            weights = np.linalg.lstsq(d[:, chosen], patch, rcond=None)[0]
            rest = patch - d[:, chosen] @ weights
        assert sorted(chosen) == np.flatnonzero(code).tolist()
        assert np.allclose(code[chosen], weights)


def test_omp_stops_when_it_is_close_enough(problem):
    d, y = problem
    codes = pursuit.omp(d, y, 12, tolerance=1.0)
    rest = np.linalg.norm(y - codes @ d.T, axis=1)
    assert rest.max() <= 1.0 + 1e-9 and (codes != 0).sum(axis=1).min() < 8
    exact = pursuit.omp(d, d.T.copy(), 3)  # each atom is its own code
    assert np.allclose(exact, np.eye(30))
    twice = np.concatenate([d, d], axis=1)  # the second copy of an atom is never of use
    assert (pursuit.omp(twice, y, 12) != 0).sum(axis=1).max() <= 12


def test_float32_stays_float32_and_close(problem):
    d, y = problem
    for solve in (
        lambda d, y: pursuit.ista(d, y, LAMBDA, 20),
        lambda d, y: pursuit.fista(d, y, LAMBDA, 20, signed=False),
        lambda d, y: pursuit.lasso(d, y, LAMBDA, tolerance=1e-5),
        lambda d, y: pursuit.omp(d, y, 2),
    ):
        single = solve(d.astype(np.float32), y.astype(np.float32))
        assert single.dtype == np.float32
        assert np.allclose(single, solve(d, y), atol=1e-3)  # lasso: ends at another step


def test_same_bits_for_any_number_of_threads(problem, rng):
    d, y = problem
    image = rng.standard_normal((40, 31)).astype(np.float32)
    results = []
    for threads in (1, 3):
        set_num_threads(threads)
        cut, history = patches.extract(image, 7, 2), []
        results.append(
            [
                patches.overlap_average(cut, image.shape, 7, 2),
                pursuit.fista(d, y, LAMBDA, 9, history=history),
                history,
                pursuit.lasso(d, y, LAMBDA),
                pursuit.omp(d, y, 3),
                dictionaries.ksvd(y, 20, 2, iterations=2),
                dictionaries.online(y, 20, 0.1, batch=40),
            ]
        )
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


# What is refused

IMAGE, D, Y = np.zeros((8, 9)), np.eye(4), np.ones((3, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patches.extract(IMAGE, 10), "10 x 10 do not fit"),
        (lambda: patches.extract(IMAGE[0], 3), "expected an image"),
        (lambda: patches.extract(IMAGE * np.nan, 3), "not finite"),
        (lambda: patches.extract(IMAGE.astype(np.uint8), 3), "uint8"),
        (lambda: patches.extract(IMAGE, 3, 0), "stride must be"),
        (lambda: patches.overlap_average(Y, (8, 9), 2), r"expected \(56, 4\)"),
        (lambda: patches.average_around_each_pixel(Y, (8, 9)), r"expected \(72, 4\)"),
        (lambda: pursuit.ista(D, Y[:, :3], 1.0, 3), "atoms of 4 values"),
        (lambda: pursuit.ista(D, Y, -0.1, 3), "lambda must be"),
        (lambda: pursuit.lasso(D, Y, np.nan), "lambda must be"),
        (lambda: pursuit.fista(2 * D, Y, 0.1, 3), "norm 2, not 1"),
        (lambda: pursuit.ista(D[:, :0], Y, 0.1, 3), "expected a dictionary"),
        (lambda: pursuit.ista(D, Y, 0.1, -1), "steps must be"),
        (lambda: pursuit.omp(D, Y, 5), "1 to 4"),
        (lambda: pursuit.omp(D, np.ones(4), 1), "one a row"),
        (lambda: dictionaries.unit(D * 0), "atom 0 of the dictionary is zero"),
        (lambda: dictionaries.dct(8, 63), "square"),
        (lambda: dictionaries.dct(8, 49), "too few to span"),
        (lambda: dictionaries.ksvd(Y, 4, 1), "too few patches .*, 3, for 4 atoms"),
        (lambda: dictionaries.pca(Y, energy=2), "energy"),
        (lambda: dictionaries.coupled(Y, Y[:2], 1, 0.1), "not the same"),
        (lambda: dictionaries.high_resolution(Y, Y[:2]), "not as many: 3 and 2"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()
