"""Malformed input of every kind: what a user types, and files from elsewhere."""

from .broden import BRODEN
from .case import Case, answer, state
from .command_line import COMMAND_LINE
from .images import IMAGES
from .parameters import PARAMETERS
from .records import RECORDS
from .weights import WEIGHTS

KINDS: dict[str, dict[str, Case]] = {
    "images": IMAGES,
    "weights": WEIGHTS,
    "Broden folders": BRODEN,
    "parameters": PARAMETERS,
    "records": RECORDS,
    "command line": COMMAND_LINE,
}
ALL = {f"{kind}: {name}": case for kind, cases in KINDS.items() for name, case in cases.items()}

__all__ = ["ALL", "KINDS", "Case", "answer", "state"]
