"""Downloads, from a server on this machine: whole, broken, wrong, missing, and no server at all."""

from __future__ import annotations

import hashlib
import http.server
import re
import socket
import threading
from pathlib import Path

import pytest

from npsrcnn.commands.datasets import main
from npsrcnn.datasets import downloads, fetch, find
from npsrcnn.errors import UserError

FILES = {f"{i}.bmp": bytes([i]) * 50_000 for i in range(12)}


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` and notes what is asked for; ``trouble`` says how a file goes wrong."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.trouble, self.asked = files, {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """A client that goes away is not worth a traceback."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.lstrip("/")
        self.server.asked.append(path)
        trouble = self.server.trouble.get(path)
        if path not in self.server.files or trouble == "missing":
            self.send_error(404)
            return
        content = self.server.files[path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if trouble == "wrong":
            content = content[:-1] + b"?"
        elif trouble == "broken":
            content = content[:100]
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """A mirror with twelve small files in the place of T91."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(downloads, "checksums", lambda name: sums)
    with Server({f"T91/{name}": content for name, content in FILES.items()}) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def assert_complete(folder: Path):
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_fetch_gets_every_file_once(server, tmp_path):
    assert fetch("t91", tmp_path, server.url) == tmp_path / "T91"
    assert_complete(tmp_path / "T91")
    assert sorted(server.asked) == sorted(f"T91/{name}" for name in FILES)
    server.asked.clear()
    fetch("T91", tmp_path, server.url + "/")
    assert server.asked == []


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("wrong", r"T91/7.bmp is not the file it should be \(another SHA-256\): try again"),
        ("broken", r"T91/7.bmp: the download broke off: try again"),
        ("missing", r"T91/7.bmp: 404 Not Found"),
    ],
)
def test_trouble_is_told_in_one_line_and_the_next_try_goes_on(server, tmp_path, trouble, message):
    server.trouble["T91/7.bmp"] = trouble
    with pytest.raises(UserError, match=message) as caught:
        fetch("t91", tmp_path, server.url, retries=0)
    assert "of 12 files; the same command goes on from there" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "T91" / "7.bmp").exists()
    here = {path.name for path in (tmp_path / "T91").iterdir()}
    assert here <= set(FILES)  # and no temporary file
    del server.trouble["T91/7.bmp"]
    server.asked.clear()
    fetch("t91", tmp_path, server.url)
    assert_complete(tmp_path / "T91")
    assert {name.removeprefix("T91/") for name in server.asked} == set(FILES) - here


def test_trouble_that_passes_is_not_told(server, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: server.trouble.clear())
    server.trouble["T91/3.bmp"] = "broken"
    fetch("t91", tmp_path, server.url, retries=1)
    assert_complete(tmp_path / "T91")


def test_a_file_that_was_spoilt_is_fetched_again(server, tmp_path):
    fetch("t91", tmp_path, server.url)
    (tmp_path / "T91" / "5.bmp").write_bytes(b"spoilt")
    server.asked.clear()
    fetch("t91", tmp_path, server.url)
    assert server.asked == ["T91/5.bmp"]
    assert_complete(tmp_path / "T91")


def test_no_network(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]  # where nobody listens any more
    code = main(["fetch", "set5", "-o", str(tmp_path), "--mirror", f"http://127.0.0.1:{port}"])
    (line,) = capsys.readouterr().err.strip().split("\r")[-1].strip().splitlines()
    assert code == 1
    assert f"cannot reach 127.0.0.1:{port}" in line
    assert "check the network, or use --mirror (missing: 5 of 5 files" in line


def test_a_mirror_that_is_no_address(tmp_path):
    with pytest.raises(UserError, match=r"gopher/Set5/baby_GT.bmp is no address to fetch from"):
        fetch("set5", tmp_path, "gopher", retries=0)


def test_fetched_sets_are_found_by_name(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NPSRCNN_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(downloads, "_cache", lambda: tmp_path / "cache")
    with pytest.raises(UserError, match=r"T91 is not in .*: npsrcnn datasets fetch t91"):
        find("t91")
    assert main(["fetch", "t91", "--mirror", server.url]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'data' / 'T91'}: 12 images, complete\n"
    assert find("t91") == tmp_path / "data" / "T91"
    (tmp_path / "data" / "T91" / "0.bmp").unlink()
    with pytest.raises(UserError, match="fetch t91"):
        find("t91")  # not complete
    monkeypatch.delenv("NPSRCNN_DATA")
    assert main(["fetch", "t91", "--mirror", server.url]) == 0
    assert find("T91") == tmp_path / "cache" / "T91"
    monkeypatch.setenv("NPSRCNN_DATA", str(tmp_path / "data"))
    assert find("T91") == tmp_path / "cache" / "T91"  # the second place


def test_unknown_names(capsys):
    for function in (fetch, find):
        with pytest.raises(UserError, match=r"cifar: no such .* \(t91, set5, set14, live1\)"):
            function("cifar")
    assert main(["fetch", "cifar"]) == 2
    assert main([]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all("--help" in line for line in lines)


def test_a_folder_that_cannot_be_written(server, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["fetch", "t91", "-o", str(tmp_path / "file"), "--mirror", server.url]) == 1
    assert "Not a directory" in capsys.readouterr().err.strip().split("\r")[-1]


def test_the_public_files_are_the_papers(data_folder):
    counts = {}
    for name, (folder, _) in downloads.SETS.items():
        sums = downloads.checksums(name)
        counts[name] = len(sums)
        if name == "live1" and not (data_folder / folder).is_dir():
            continue  # not a set of the paper
        for file, checksum in sums.items():
            content = (data_folder / folder / file).read_bytes()
            assert hashlib.sha256(content).hexdigest() == checksum, file
    assert counts == {"t91": 91, "set5": 5, "set14": 14, "live1": 29}


def test_each_set_comes_from_one_commit_of_its_public_copy():
    for name, (folder, address) in downloads.SETS.items():
        assert folder.lower() == name
        assert re.fullmatch(r"https://raw\.githubusercontent\.com/\S+/[0-9a-f]{40}/\S+\w", address)
