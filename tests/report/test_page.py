"""A page that needs nothing but itself."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from npsrcnn.report.page import POLICY, Page

VOID = {"meta", "img", "input", "br"}  # tags that are not closed


class Balance(HTMLParser):
    """Checks that every tag that is opened is closed, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.texts = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_it_is_html_and_shows_texts_as_they_are(tmp_path):
    page = Page("a <b> & c")
    page.heading("<h>")
    page.text("5 < 6 & so on", "lead")
    page.table(["image", "<dB>"], [["<x>.png", "1.0"], ["mean", "2"]])
    page.facts({"command": "npsrcnn '<a>'"})
    page.write(tmp_path / "page.html")
    reader = Balance()
    reader.feed((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert reader.open == []
    for text in ("a <b> & c", "<h>", "5 < 6 & so on", "<x>.png", "<dB>", "npsrcnn '<a>'"):
        assert text in reader.texts


def test_a_browser_is_told_to_fetch_nothing():
    assert f'content="{POLICY}"' in str(Page("x"))
    assert "default-src 'none'" in POLICY and "http" not in POLICY


def test_an_odd_name_of_a_file_is_written_all_the_same(tmp_path):
    page = Page("caf\udce9.png")
    page.write(tmp_path / "page.html")
    assert b"caf\\udce9.png" in (tmp_path / "page.html").read_bytes()


def test_where_it_cannot_be_written(tmp_path):
    with pytest.raises(FileNotFoundError, match="no_folder"):
        Page("x").write(tmp_path / "no_folder" / "page.html")
