"""Claims and what was measured for them, as text and as an HTML table."""

import html
from dataclasses import dataclass

from .notebooks import Claim

COLUMNS = ("id", "claim", "measured", "expected", "verdict")


@dataclass(frozen=True)
class Verdict:
    """A claim and what was measured.

    Attributes:
        claim: what the survey or a paper says.
        measured: the number that decides the claim; None if it cannot be measured.
        note: a remark on the number, or why there is none.
    """

    claim: Claim
    measured: float | None
    note: str

    @property
    def holds(self) -> bool | None:
        """Whether the claim holds; None if it was not measured."""
        return None if self.measured is None else self.claim.holds(self.measured)

    def __str__(self) -> str:
        if self.measured is None:
            return f"{self.claim.id:8} not measured: {self.note}"
        return (
            f"{self.claim.id:8} {'holds' if self.holds else 'DOES NOT HOLD':14} "
            f"{self.claim.quantity}: {self.measured:.4g} (expected {self.claim.expected})"
        )

    def to_html(self) -> str:
        """Return a row of an HTML table."""
        value = "" if self.measured is None else f"{self.measured:.4g}"
        words = {None: "not measured", True: "holds", False: "<strong>does not hold</strong>"}
        text, source = html.escape(self.claim.text), html.escape(self.claim.source)
        quantity = html.escape(self.claim.quantity + (f". {self.note}" if self.note else ""))
        return (
            f"<tr><td>{html.escape(self.claim.id)}</td><td>{text} <small>({source})</small></td>"
            f"<td>{value} <small>{quantity}</small></td><td>{html.escape(self.claim.expected)}</td>"
            f"<td>{words[self.holds]}</td></tr>"
        )


class Verdicts(tuple[Verdict, ...]):
    """Several verdicts; a notebook displays them as a table."""

    def __repr__(self) -> str:
        return "\n".join(map(str, self))

    def to_html(self, caption: str = "") -> str:
        """Return an HTML table; an empty text without verdicts."""
        if not self:
            return ""
        caption = f"<caption>{html.escape(caption)}</caption>" if caption else ""
        head = "".join(f"<th scope='col'>{name}</th>" for name in COLUMNS)
        rows = "".join(verdict.to_html() for verdict in self)
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>\n"

    def _repr_html_(self) -> str:
        table = self.to_html()
        for cell in ("<th", "<td"):  # JupyterLab aligns tables to the right
            table = table.replace(f"{cell} ", f'{cell} style="text-align: left" ')
            table = table.replace(f"{cell}>", f'{cell} style="text-align: left">')
        return table
