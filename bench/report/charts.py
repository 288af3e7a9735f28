"""The curves of a comparison as Vega-Lite charts, which answer to the pointer."""

import csv
import io
from typing import Any

import numpy as np

from bench.report.figures import accuracy_limits
from bench.report.results import band, runs_of

MOMENTS = 60  # points of a curve
DASHES: dict[str, list[int]] = {"-": [], "--": [6, 4], ":": [2, 3], "-.": [8, 3, 2, 3]}
AXES = {"seconds": "time in seconds", "step": "steps"}
QUANTITIES = {"accuracy": "test accuracy", "loss": "test loss"}


def chart(results: dict[str, Any], quantity: str) -> dict[str, Any]:
    """Mean and range over the seeds of each strategy, against training time or steps."""
    strategies = results["strategies"].values()
    colour = {
        "field": "strategy",
        "scale": {
            "domain": [strategy["label"] for strategy in strategies],
            "range": [text_colour(strategy["colour"]) for strategy in strategies],
        },
        "legend": {
            "orient": "bottom",
            "columns": 1,
            "labelLimit": {"expr": "width"},
            "symbolLimit": 0,  # all of them
            "symbolType": "stroke",
            "symbolOpacity": 1,
            "symbolStrokeWidth": 2,
            "title": None,
        },
    }
    dash = {
        "field": "strategy",
        "scale": colour["scale"] | {"range": [DASHES[s["line"]] for s in strategies]},
        "legend": colour["legend"],
    }
    y = {"type": "quantitative", "title": QUANTITIES[quantity]}
    if quantity == "loss":
        y["scale"] = {"type": "log", "nice": False}
    else:
        y["scale"] = {"domain": accuracy_limits(results)}
    band_opacity = min(0.15, 1 / len(strategies))  # many of them lie on one another
    faint = {"condition": {"param": "shown", "value": 1}, "value": 0.06}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": None,
        "width": "container",
        "height": 260,
        "data": {"values": points(results, quantity), "format": {"type": "csv"}},
        "params": [
            {
                "name": "against",
                "value": "seconds",
                "bind": {
                    "input": "radio",
                    "options": list(AXES),
                    "labels": list(AXES.values()),
                    "name": "against ",
                },
            }
        ],
        "transform": [{"filter": "datum.against == against"}],
        "encoding": {"x": {"field": "x", "type": "quantitative", "title": None}, "color": colour},
        "layer": [
            {
                "mark": {"type": "area", "clip": True},
                "params": [
                    {
                        "name": "shown",
                        "select": {"type": "point", "fields": ["strategy"]},
                        "bind": "legend",
                    }
                ],
                "encoding": {
                    "y": y | {"field": "low"},
                    "y2": {"field": "high"},
                    "opacity": {"condition": {"param": "shown", "value": band_opacity}, "value": 0},
                },
            },
            {
                "mark": {"type": "line", "strokeWidth": 1.8, "clip": True},
                "encoding": {"y": y | {"field": "mean"}, "strokeDash": dash, "opacity": faint},
            },
            {
                # A tooltip of fields has no strategy where the nearest point is asked for.
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 60,
                    "clip": True,
                    "tooltip": {"content": "data"},
                },
                "params": [
                    {
                        "name": "pointed",
                        "select": {
                            "type": "point",
                            "on": "pointerover",
                            "nearest": True,
                            "fields": ["strategy", "x"],
                        },
                    }
                ],
                "encoding": {
                    "y": y | {"field": "mean"},
                    "opacity": {
                        "condition": {"param": "pointed", "empty": False, "value": 1},
                        "value": 0,
                    },
                },
            },
        ],
        "config": {
            "axis": {
                "domainColor": "currentColor",
                "gridColor": "currentColor",
                "gridOpacity": 0.15,
                "labelColor": "currentColor",
                "tickColor": "currentColor",
                "titleColor": "currentColor",
            },
            "legend": {"labelColor": "currentColor"},
            "view": {"stroke": None},
        },
    }


def text_colour(colour: str) -> str:
    """Black is the colour of the page's text, which is light on a dark page."""
    return "currentColor" if colour == "#000000" else colour


def points(results: dict[str, Any], quantity: str) -> str:
    """All curves against either axis, as comma-separated values: JSON would name each field."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["strategy", "against", "x", "mean", "low", "high"])
    for name, strategy in results["strategies"].items():
        for against in AXES:
            x, values = band(runs_of(results, name), against, quantity, MOMENTS)
            columns = (x, values.mean(0), values.min(0), values.max(0))
            for numbers in np.stack(columns, axis=1):
                rows.writerow([strategy["label"], against, *(f"{v:.5g}" for v in numbers)])
    return text.getvalue()
