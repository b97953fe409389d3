"""HTML in which text cannot become a tag: whatever is not `Html` is escaped."""

from __future__ import annotations

import html

from thingbeam.pipelines.report.words import visible

__all__ = ["Html", "el", "heads", "join", "json_block"]


class Html(str):
    """Text that is HTML already. Only this module and the page's own files make it."""

    __slots__ = ()


def join(*parts: Html | str | None) -> Html:
    """Parts one after another.

    >>> join("a<", Html("<br>"), None)
    'a&lt;<br>'
    """
    return Html("".join(p if isinstance(p, Html) else html.escape(visible(p)) for p in parts if p is not None))


def el(name: str, *children: Html | str | None, **attributes: str | bool | None) -> Html:
    """An element.

    Args:
        name: the tag.
        children: what it holds; plain strings are escaped.
        attributes: `class_` for class, `aria_label` for aria-label; True for one without value, None for none.

    >>> el("a", "x & y", href='"#', class_="big", hidden=True)
    '<a href="&quot;#" class="big" hidden>x &amp; y</a>'
    """
    text = "".join(
        f" {_attribute(key)}" + ("" if value is True else f'="{html.escape(visible(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{text}>{join(*children)}</{name}>")


def heads(*names: str) -> Html:
    """The head of a table; a name that begins with # is over a column of numbers, and loses it.

    >>> heads("Device", "#Events")
    '<thead><tr><th scope="col">Device</th><th scope="col" class="n">Events</th></tr></thead>'
    """
    cells = (el("th", n.removeprefix("#"), scope="col", class_="n" if n.startswith("#") else None) for n in names)
    return el("thead", el("tr", *cells))


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def json_block(text: str, **attributes: str) -> Html:
    r"""Data for the page's script: a block that no browser runs and no text in it can end.

    Args:
        text: JSON.
        attributes: of the element.

    >>> json_block('["</script>"]', id="x")
    '<script type="application/json" id="x">["\\u003c/script\\u003e"]</script>'
    """
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    head = "".join(f' {_attribute(k)}="{html.escape(v)}"' for k, v in attributes.items())
    return Html(f'<script type="application/json"{head}>{text}</script>')
