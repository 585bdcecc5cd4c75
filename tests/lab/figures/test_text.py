"""Values are formatted in their order."""

import torch

from cnnvis_lab.lab import figures


def test_values_are_listed_with_their_names_in_order():
    values = {"CL1": 3.0, "CL2": torch.tensor(10.0), "CL3": 12.26}
    assert figures.format_values(values) == "CL1 3.00, CL2 10.00, CL3 12.26"
    assert figures.format_values(values, 0) == "CL1 3, CL2 10, CL3 12"
    quotients = {"CL1": torch.tensor(1.0) / 0, "CL2": 2.0, "CL3": float("nan")}
    assert figures.format_values(quotients, 1) == "CL1 undefined, CL2 2.0, CL3 undefined"
