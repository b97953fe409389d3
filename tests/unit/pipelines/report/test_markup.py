from __future__ import annotations

import json
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from thingbeam.pipelines.report.markup import el, heads, join, json_block
from thingbeam.pipelines.report.words import visible


class Parsed(HTMLParser):
    """The tags and the text that a parser finds."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = st.text() | st.sampled_from(
    ["<script>", "</p><img src=x onerror=alert(1)>", '" onmouseover="x', "&lt;b&gt;", "<!--", "]]>", "\x00<", "\u2028"]
)


@given(HOSTILE, HOSTILE)
def test_text_and_attributes_come_back_as_they_were(text: str, attribute: str) -> None:
    parsed = Parsed(el("p", text, title=attribute))
    assert parsed.tags == [("p", {"title": visible(attribute)})]
    assert parsed.text == visible(text)


@given(st.recursive(HOSTILE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3)))
def test_a_block_of_data_is_one_element_and_the_same_data(data: object) -> None:
    block = json_block(json.dumps(data, ensure_ascii=False), data_for="plot-1")
    parsed = Parsed(block + "<i>")
    assert [tag for tag, _ in parsed.tags] == ["script", "i"]
    body = block[block.index(">") + 1 : block.rindex("</script>")]
    assert "<" not in body
    assert json.loads(body) == data


def test_true_attributes_have_no_value_and_none_are_left_out() -> None:
    assert el("option", "x", selected=True, value=None, hidden=False) == "<option selected>x</option>"


def test_parts_that_are_html_stay() -> None:
    assert join(el("b", "<"), "<") == "<b>&lt;</b>&lt;"


def test_heads_mark_numbers() -> None:
    assert 'class="n">Count<' in heads("#Count")
