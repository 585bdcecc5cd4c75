"""The analysis that several tests use."""

import pytest
from support import planted_units

from cnnvis_lab.methods import unit_profile


@pytest.fixture(scope="module")
def analysis() -> unit_profile.LayerAnalysis:
    model, data = planted_units.network(), planted_units.dataset()
    return unit_profile.analyze_layer(model, "1", data, min_images_per_split=3, min_images=3)
