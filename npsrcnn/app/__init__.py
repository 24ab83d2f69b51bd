"""Show npsrcnn in a browser: enlarge pictures, look inside networks, train, sparse coding.

Gradio makes the pages (extra "app"); only :mod:`.server` and the modules of tabs import it.
"""
