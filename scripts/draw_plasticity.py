"""
The picture of docs/plasticity.md: textbook curves, made by the rules themselves (`spikeloom.plasticity.curves`).

    python scripts/draw_plasticity.py [FILE]        docs/plasticity.svg without a name
"""

import io
import math
import sys
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spikeloom.plasticity import BCM, SJOSTROM_2001, STDP, VISUAL_CORTEX, Homeostasis, RewardSTDP, curves, interpolating

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#8a8a8a"


def window(axes: Axes) -> None:
    """Pairs by their delay."""
    delays = torch.linspace(-80, 80, 81, dtype=torch.float64)
    rule = STDP(0.0086, 0.0038, 16.8, 33.7)
    for part in (delays < 0, delays > 0):
        change = 100 * curves.stdp_window(rule, delays[part].tolist())
        axes.plot(delays[part], change, color=BLUE)
    axes.axhline(0, color=GREY, lw=0.6)
    axes.set(title="STDP, one pair", xlabel="post − pre, ms", ylabel="Δw, %")


def frequencies(axes: Axes) -> None:
    """Triplets by the rate of pairs, and the experiment."""
    rates = [0.1, *range(2, 51, 2)]
    for delay_ms, colour in ((10.0, BLUE), (-10.0, ORANGE)):
        rows = [row for row in SJOSTROM_2001 if row.delay_ms == delay_ms]
        at, change, error = ([100 * getattr(row, name) for row in rows] for name in ("rate_hz", "change", "error"))
        axes.errorbar([rate / 100 for rate in at], change, error, fmt="o", ms=3, lw=0.8, color=colour)
        curve = curves.frequency_curve(VISUAL_CORTEX["all-to-all, full"], [float(rate) for rate in rates], delay_ms)
        axes.plot(rates, 100 * curve, color=colour, label=f"{delay_ms:+.0f} ms")
    axes.axhline(0, color=GREY, lw=0.6)
    axes.legend(frameon=False, fontsize=7, loc="upper left")
    axes.set(title="triplets, 60 pairs", xlabel="pairs per second", ylabel="Δw, %")


def bcm(axes: Axes) -> None:
    """φ for two thresholds."""
    post = torch.linspace(0, 2, 41, dtype=torch.float64)
    for theta, colour in ((0.7, BLUE), (1.3, ORANGE)):
        axes.plot(post, curves.bcm_curve(BCM(1.0, 100.0), theta, post), color=colour, label=f"θ = {theta}")
    axes.axhline(0, color=GREY, lw=0.6)
    axes.legend(frameon=False, fontsize=7)
    axes.set(title="BCM", xlabel="output y", ylabel="φ = y·(y − θ)")


def room(axes: Axes) -> None:
    """Steps up and down by the weight."""
    weights = torch.linspace(0, 1, 81, dtype=torch.float64)
    for mu, colour in ((0.0, GREY), (0.2, GREEN), (1.0, BLUE)):
        up, down = curves.room_curve(interpolating(mu), weights)
        axes.plot(weights, up, color=colour, label=f"μ = {mu:g}")
        axes.plot(weights, -down, color=colour)
    axes.legend(frameon=False, fontsize=7, loc="center")
    axes.set(title="bounds", xlabel="weight", ylabel="size of a step up, down")


def reward(axes: Axes) -> None:
    """A pair's change by how late its reward comes."""
    delays = [100.0 * k for k in range(41)]
    for tau_ms, colour in ((500.0, ORANGE), (1000.0, BLUE)):
        rule = RewardSTDP(STDP(1.0, 1.5, 20.0, 20.0, dt_ms=5.0), 0.005, tau_ms)
        axes.plot([delay / 1000 for delay in delays], curves.reward_curve(rule, delays), color=colour, label=f"τ_e = {tau_ms / 1000:g} s")
    axes.set_ylim(0)
    axes.legend(frameon=False, fontsize=7)
    axes.set(title="reward-modulated STDP", xlabel="reward after the pair, s", ylabel="Δw")


def homeostasis(axes: Axes) -> None:
    """Rates under synaptic scaling."""
    drive = torch.ones(400, dtype=torch.float64)
    drive[200:] = 2.5
    for start, colour in ((0.1, BLUE), (1.5, ORANGE)):
        axes.plot(curves.settling(Homeostasis(0.5, 0.05, 10.0), drive, start), lw=1.2, color=colour)
    axes.axhline(0.5, color=GREY, lw=0.6)
    axes.set(title="homeostasis", xlabel="steps (drive × 2.5 at 200)", ylabel="rate per step")


def picture() -> bytes:
    """The six panels as SVG, the same bytes each time."""
    look = {"svg.hashsalt": "spikeloom", "svg.fonttype": "none", "font.size": 8, "axes.titlesize": 9, "font.sans-serif": ["DejaVu Sans"]}
    stream = io.BytesIO()
    with mpl.rc_context(look):
        figure = Figure(figsize=(7.6, 4.4), layout="constrained")
        for axes, draw in zip(figure.subplots(2, 3).flat, (window, frequencies, bcm, room, reward, homeostasis), strict=True):
            draw(axes)
            axes.spines[["top", "right"]].set_visible(False)
            axes.locator_params(nbins=5)
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "docs" / "plasticity.svg")
    place.write_bytes(picture())
    print(place, f"{math.ceil(place.stat().st_size / 1024)} KiB")
