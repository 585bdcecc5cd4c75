"""Claims and what was measured for them, as text and as an HTML table.

In `Markup`, whatever is formatted into a text of HTML is escaped.
"""

from dataclasses import dataclass

from markupsafe import Markup

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

    def to_html(self) -> Markup:
        """Return a row of an HTML table."""
        value = "" if self.measured is None else f"{self.measured:.4g}"
        verdict = {
            None: "not measured",
            True: "holds",
            False: Markup("<strong>does not hold</strong>"),
        }[self.holds]
        claim, quantity = self.claim, self.claim.quantity + (f". {self.note}" if self.note else "")
        return Markup(
            "<tr><td>{}</td><td>{} <small>({})</small></td>"
            "<td>{} <small>{}</small></td><td>{}</td><td>{}</td></tr>"
        ).format(claim.id, claim.text, claim.source, value, quantity, claim.expected, verdict)


class Verdicts(tuple[Verdict, ...]):
    """Several verdicts; a notebook displays them as a table."""

    def __repr__(self) -> str:
        return "\n".join(map(str, self))

    def to_html(self, caption: str = "") -> Markup:
        """Return an HTML table; an empty text without verdicts."""
        if not self:
            return Markup()
        words = Markup("<caption>{}</caption>").format(caption) if caption else ""
        head = Markup().join(Markup("<th scope='col'>{}</th>").format(name) for name in COLUMNS)
        rows = Markup().join(verdict.to_html() for verdict in self)
        return Markup("<table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table>\n").format(
            words, head, rows
        )

    def _repr_html_(self) -> str:
        table = str(self.to_html())
        for cell in ("<th", "<td"):  # JupyterLab aligns tables to the right
            table = table.replace(f"{cell} ", f'{cell} style="text-align: left" ')
            table = table.replace(f"{cell}>", f'{cell} style="text-align: left">')
        return table
