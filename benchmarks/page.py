"""One page of plots of what was measured, with its method."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}td,th{padding:.2rem 1rem}"
)
_AROUND = 180
"""Pixels of a plot that its title and axis take."""


def write_page(results: Mapping[str, Any], path: Path) -> None:
    """The results of run.py as one self-contained page."""
    plots: list[str] = []

    def plot(title: str, values: Mapping[str, float], unit: str, *, bars: bool = True, log: bool = False) -> None:
        names, heights = list(values), list(values.values())
        mark: Any = go.Bar(x=heights, y=names, orientation="h") if bars else go.Scatter(x=names, y=heights)
        figure = go.Figure(mark)
        axis = "xaxis_title" if bars else "yaxis_title"
        figure.update_layout(title=title, height=_AROUND + 40 * len(names) if bars else 380, **{axis: unit})
        if bars:
            figure.update_yaxes(autorange="reversed", dtick=1)
        else:
            figure.update_xaxes(type="category")
            figure.update_yaxes(rangemode="tozero")
        if log:
            figure.update_xaxes(type="log")
        plots.append(figure.to_html(full_html=False, include_plotlyjs=False))

    if "peers" in results:
        rates = {peer["name"]: peer["rate"] for peer in results["peers"]}
        plot("Whole processes, one core", rates, "events a second of CPU time", log=True)
    if "stages" in results:
        plot("The stages, each alone", results["stages"], "ns an event")
    for name, series in results.get("growth", {}).items():
        plot(name, series, "ns an event", bars=name.startswith("elements"))
    for name, points in results.get("soak", {}).get("series", {}).items():
        plot(f"Soak: {name}", {f"{at / 60:.1f}": value for at, value in points}, "by minutes", bars=False)
    about = "".join(
        f"<tr><th align=left>{html.escape(str(name))}<td>{html.escape(str(value))}"
        for name, value in (results.get("about", {}) | results.get("state", {})).items()
    )
    path.write_text(
        f"<!doctype html><meta charset=utf-8><title>thingbeam: how fast</title><style>{_STYLE}</style>"
        f"<h1>thingbeam: how fast</h1><table>{about}</table><script>{get_plotlyjs()}</script>{''.join(plots)}",
        encoding="utf-8",
    )
