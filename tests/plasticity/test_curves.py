"""The picture of docs/plasticity.md is made by its script, whole."""

import runpy

import pytest

from conftest import REPOSITORY


@pytest.mark.slow
def test_the_script_draws_all_panels() -> None:
    """From a checkout only: an installed package has no scripts."""
    script = REPOSITORY / "scripts" / "draw_plasticity.py"
    if not script.exists():
        pytest.skip(f"needs the script of a checkout: {script}")
    drawn = runpy.run_path(str(script))["picture"]().decode()
    for title in ("STDP, one pair", "triplets, 60 pairs", "BCM", "bounds", "reward-modulated STDP", "homeostasis"):
        assert title in drawn
    assert len(drawn) < 120_000
