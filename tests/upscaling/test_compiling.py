"""What is said of compiling: how long it took, and whether it will be so again."""

from __future__ import annotations

from npsrcnn.upscaling.compiling import Compiled


def test_once_is_said_only_where_a_folder_keeps_kernels():
    assert str(Compiled(7.25, ("/a", "/b"))).endswith("in 7.2 s: only this once, kept in /a and /b")
    assert str(Compiled(7.25)).endswith("at every start, as no folder can keep them: "
                                        "set NUMBA_CACHE_DIR to one")  # fmt: skip
