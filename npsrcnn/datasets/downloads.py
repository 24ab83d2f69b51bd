"""Fetch the papers' images from public copies, each file checked by its SHA-256.

They state no licence, so npsrcnn does not ship them; fetch them for experiments of your own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from npsrcnn.errors import UserError
from npsrcnn.words import counted

SRCNN_COPY = (
    "https://raw.githubusercontent.com/tegg89/SRCNN-Tensorflow/"
    "78be1a24697935fc39a3a8cf59a6632264afade7"
)
FBCNN_COPY = (
    "https://raw.githubusercontent.com/jiaxi-jiang/FBCNN/54d1831927506b3247e2d4d245abb4f4dab1a1cd"
)
SETS = {  # name: the local folder, and the folder that it is fetched from
    "t91": ("T91", f"{SRCNN_COPY}/Train"),
    "set5": ("Set5", f"{SRCNN_COPY}/Test/Set5"),
    "set14": ("Set14", f"{SRCNN_COPY}/Test/Set14"),
    "live1": ("LIVE1", f"{FBCNN_COPY}/testsets/LIVE1_gray"),  # grey: the test set of JPEG
}
CONNECTIONS = 4
TIMEOUT_SECONDS = 30  # without a byte


def fetch(
    name: str, folder: str | Path | None = None, mirror: str | None = None, retries: int = 2
) -> Path:
    """Download one set of images; files that are there and correct are left alone.

    Parameters
    ----------
    name : "t91", "set5", "set14" or "live1"
    folder : path
        In which the set gets a folder, T91, Set5, Set14 or LIVE1. Default: :func:`default_folder`.
    mirror : str
        URL of a folder with T91, Set5, Set14 and LIVE1 to fetch from instead of the public copy.
    retries : int
        Times to try again for each file.

    Returns
    -------
    Path
        The folder of the set, complete.

    Raises
    ------
    UserError
        No network, a broken download, or a file that is not the expected one. What has been
        fetched stays, and the next call goes on from there.
    """
    import pooch
    import requests
    from tqdm import tqdm

    local, remote = _set(name)
    folder = Path(folder) if folder is not None else default_folder()
    base = f"{mirror.rstrip('/')}/{local}" if mirror else remote
    sums = checksums(name)
    pooch.get_logger().setLevel("WARNING")  # else it logs every file
    store = pooch.create(folder / local, f"{base}/", registry=sums, retry_if_failed=retries)
    executor = ThreadPoolExecutor(CONNECTIONS)
    futures = {file: executor.submit(store.fetch, file, downloader=_download) for file in sums}
    try:
        for file in tqdm(futures, desc=f"fetching {local}", unit="file", leave=False):
            futures[file].result()
    except (requests.RequestException, ValueError) as error:
        executor.shutdown(cancel_futures=True)
        left = len(sums) - len(list(_present(folder / local, sums)))
        raise UserError(
            f"{_explained(error, f'{base}/{file}')} (missing: {left} of "
            f"{counted(len(sums), 'file')}; "
            "the same command goes on from there)"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)
    return (folder / local).resolve()


def _download(url: str, path: str, _: object) -> None:
    """Download as pooch does, but close connections that break."""
    import requests

    with (
        requests.get(url, stream=True, timeout=TIMEOUT_SECONDS) as response,
        open(path, "wb") as file,
    ):
        response.raise_for_status()
        for chunk in response.iter_content(1 << 16):
            file.write(chunk)


def find(name: str) -> Path:
    """Find the folder of a set that was fetched, or that lies in the folder NPSRCNN_DATA.

    Raises
    ------
    UserError
        It is not there, or not complete; the message names the command that fetches it.
    """
    here, _ = _set(name)
    sums = checksums(name)
    places = [*_data_folder(), _cache()]
    for place in places:
        if len(list(_present(place / here, sums))) == len(sums):
            return (place / here).resolve()
    raise UserError(
        f"{here} is not in {' or '.join(map(str, places))}; "
        f"fetch it: npsrcnn datasets fetch {name.lower()}"
    )


def default_folder() -> Path:
    """Return the folder that sets are kept in: NPSRCNN_DATA if it is set, else the user's cache."""
    return next(_data_folder(), _cache())


def checksums(name: str) -> dict[str, str]:
    """Return the files of a set, and the SHA-256 of each."""
    here, _ = _set(name)
    lines = Path(__file__).with_name("checksums.sha256").read_text(encoding="ascii").splitlines()
    both = (line.split("  ") for line in lines)  # as sha256sum writes and checks it
    return {
        path.removeprefix(f"{here}/"): checksum
        for checksum, path in both
        if path.startswith(f"{here}/")
    }


def _set(name: str) -> tuple[str, str]:
    try:
        return SETS[name.lower()]
    except KeyError:
        names = ", ".join(SETS)
        raise UserError(
            f"{name}: no such file or folder, and no set of images that can be fetched ({names})"
        ) from None


def _data_folder() -> Iterator[Path]:
    text = os.environ.get("NPSRCNN_DATA")
    if text:
        yield Path(text)


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("npsrcnn"))


def _present(folder: Path, sums: dict[str, str]) -> Iterator[str]:
    return (file for file in sums if (folder / file).is_file())


def _explained(error: Exception, url: str) -> str:
    """Return in one line what went wrong, and what to do."""
    import requests

    host = urlsplit(url).netloc
    if not isinstance(error, requests.RequestException):
        return f"{url} is not the file it should be (another SHA-256): try again, or use --mirror"
    if isinstance(error, ValueError):
        return f"{url} is no address to fetch from: it should begin with https://"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{url}: {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return (
            f"{url}: no answer within {TIMEOUT_SECONDS} seconds: try again later, or use --mirror"
        )
    if isinstance(error, requests.ConnectionError):
        return f"cannot reach {host} ({type(error).__name__}): check the network, or use --mirror"
    return f"{url}: the download broke off: try again, or use --mirror"
