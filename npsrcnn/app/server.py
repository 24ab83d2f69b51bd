"""Build the page and serve it: to this machine alone, and with nothing from elsewhere."""

from __future__ import annotations

import contextlib
import hmac
import os
from collections.abc import Iterator

import gradio as gr

from npsrcnn.app.coding_tab import coding_tab
from npsrcnn.app.compiling import Kernels
from npsrcnn.app.enlarge_tab import enlarge_tab
from npsrcnn.app.inside_tab import inside_tab
from npsrcnn.app.limits import MOST_FILE_BYTES
from npsrcnn.app.sessions import KEPT_SECONDS, SWEEP_SECONDS, Sessions
from npsrcnn.app.train_tab import train_tab
from npsrcnn.errors import UserError
from npsrcnn.report import compare
from npsrcnn.version import __version__

SYSTEM_FONTS = ("system-ui", "sans-serif")
STYLE = f"""
{compare.STYLE}
:root {{ --mine: #0b61c4; --other: #b4491b; }}
.dark {{ --mine: #6bb0ff; --other: #f09a6c; }}
#ready:empty {{ display: none; }}
label:has(:focus-visible) {{ outline: 3px solid var(--mine); }}
.clip video {{ display: block; max-width: 100%; max-height: 86vh; border-radius: 6px; }}
.clip figcaption {{ font-weight: 600; margin-bottom: .3rem; }}
"""
# Gradio confines its argument css to what is inside its own frame; this is on the frame, which
# without it is as wide as the four tabs and the picture want: 590 pixels on a phone of 390.
FRAME = """<style>
.gradio-container.gradio-container { width: 100%; max-width: 1400px; margin: 0 auto; }
.gradio-container .fillable.fillable { width: 100%; box-sizing: border-box; }
@media (max-width: 640px) {
  .gradio-container .fillable.fillable { padding: .75rem; }
  .gradio-container .tab-container.tab-container button { padding: 0 .5rem; }
}
</style>"""


def build(sessions: Sessions, kernels: Kernels) -> gr.Blocks:
    """Build the page."""
    page = gr.Blocks(
        title="npsrcnn",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(int(SWEEP_SECONDS), int(KEPT_SECONDS)),
    )
    with page:
        gr.Markdown(
            f"# npsrcnn {__version__}\nSuper-resolution by three convolutions. "
            "Your pictures stay on this machine."
        )
        ready = gr.Markdown(elem_id="ready")
        with gr.Tabs():
            with gr.Tab("Enlarge"):
                weights, own = enlarge_tab(sessions, kernels)
            with gr.Tab("Look inside") as tab:
                inside_tab(tab)
            with gr.Tab("Train"):
                train_tab(sessions, weights, own)
            with gr.Tab("Sparse coding") as tab:
                coding_tab(tab)

        def say() -> Iterator[str]:
            yield from kernels.lines()

        def leave(request: gr.Request) -> None:
            sessions.close(request.session_hash)

        page.load(say, None, ready, show_progress="hidden", api_visibility="private")
        page.unload(leave)
    return page


@contextlib.contextmanager
def serve(
    host: str, port: int | None, *, password: str | None = None, browser: bool = False
) -> Iterator[str]:
    """Serve the page until the context is left; provide its address.

    Parameters
    ----------
    host : str
        An address of this machine; 127.0.0.1: no other machine reaches it.
    port : int, optional
        Default: the first that is free from 7860 on.
    password : str, optional
        That whoever opens the page must know.
    browser : bool
        Open the page in a browser.

    Raises
    ------
    OSError
        No such address, or no free port.
    UserError
        The page does not answer.
    """
    sessions = Sessions()
    # Gradio reads where uploads go, and whether to report itself, from the environment alone.
    os.environ["GRADIO_TEMP_DIR"] = str(sessions.root / "uploads")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    kernels = Kernels()
    page = build(sessions, kernels)
    try:
        address = _launch(page, host, port, password, browser, str(sessions.root))
        kernels.start()
        yield address
    finally:
        kernels.close()
        page.close(verbose=False)
        sessions.close_all()


def _launch(
    page: gr.Blocks, host: str, port: int | None, password: str | None, browser: bool, root: str
) -> str:
    """Begin to serve a page, and the files under ``root`` that it names; return its address."""

    def knows(_: str, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (password or "").encode())

    page.queue(api_open=False, max_size=64)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            auth=knows if password else None,
            auth_message="Any name, and the password that npsrcnn app was started with.",
            prevent_thread_lock=True,
            inbrowser=browser,
            quiet=True,
            share=False,
            show_error=False,
            footer_links=[],
            allowed_paths=[root],
            max_file_size=MOST_FILE_BYTES,
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            pwa=False,
            theme=gr.themes.Default(font=SYSTEM_FONTS, font_mono=("ui-monospace", "monospace")),
            css=STYLE,
            head=FRAME,
        )
    except ValueError as error:  # Gradio's, where it cannot reach its own page
        raise UserError(
            f"{host} does not answer: set NO_PROXY={host} if there is a proxy"
        ) from error
    return str(address)
