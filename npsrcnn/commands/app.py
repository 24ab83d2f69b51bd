"""`npsrcnn app`: enlarge pictures, look inside networks and train them, in a browser.

It serves this machine alone, on 127.0.0.1, and sends nothing anywhere. With --host others can reach
it, who then need a --password. Ctrl-C ends it, and deletes the pictures that it was sent.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import signal
import threading
from collections.abc import Iterator, Sequence

from npsrcnn.commands import frame
from npsrcnn.errors import UsageError, UserError

HERE = "127.0.0.1"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = frame.parser("app", "Enlarge, look inside and train in a browser.", __doc__)
    parser.add_argument(
        "--host",
        default=HERE,
        metavar="ADDRESS",
        help=f"whom to serve: {HERE}, this machine (default); 0.0.0.0, all who reach it",
    )
    parser.add_argument(
        "--port", type=_port, metavar="N", help="(default: the first free one from 7860 on)"
    )
    parser.add_argument("--password", metavar="WORD", help="that whoever opens the page must know")
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")
    return parser


def _port(text: str) -> int:
    port = frame.positive_int(text)
    if port > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 1 to 65535")
    return port


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return frame.run(make_parser, run, argv)


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    reached_by = _reached_by(options.host)
    if reached_by and not options.password:
        raise UsageError(
            f"--host {options.host}: {reached_by} could use the app: give them a --password"
        )
    try:
        from npsrcnn.app.server import serve
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise UserError('the app needs Gradio: pip install "npsrcnn[app]"') from error
    with (
        _stop_signal() as stop,
        serve(
            options.host,
            options.port,
            password=options.password,
            browser=not options.no_browser,
        ) as address,
    ):
        print(f"npsrcnn is at {address}  (Ctrl-C ends it)", flush=True)
        if reached_by:
            print(f"{reached_by} can reach it, with the password", flush=True)
        stop.wait()
    return 0


def _reached_by(host: str) -> str:
    """Return who can reach an address, empty if only this machine."""
    if host == "localhost":
        return ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"whoever reaches this machine as {host}"
    if address.is_loopback:
        return ""
    if address.is_unspecified:
        return "every machine that reaches this one"
    return f"every machine that reaches {host}"


@contextlib.contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """Provide an event that Ctrl-C and SIGTERM set."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
