"""Commands on results folders: render, verify, claims, compare."""

import argparse
import json

from .networks import weights_path


def run_compare(args: argparse.Namespace) -> int:
    """Compare two runs."""
    from .. import gallery, notebooks

    print(gallery.compare.write(args.one, args.other, args.out, notebooks.read_all()))
    return 0


def run_render(args: argparse.Namespace) -> int:
    """Draw the figures of notebooks."""
    from .. import notebooks, render

    known = notebooks.read_all()
    overrides: dict[str, str] = dict(args.parameter)
    if args.model:
        overrides["MODEL"] = args.model
    if args.weights:
        overrides["WEIGHTS"] = weights_path(args.weights)
    jobs = render.plan(
        args.notebook, known, preset=args.preset, overrides=overrides, out=args.out.resolve()
    )
    failures = render.render(
        jobs, known, workers=args.jobs, force=args.force, keep_going=args.keep_going
    )
    return 1 if failures else 0


def run_verify(args: argparse.Namespace) -> int:
    """Check a results folder against its recorded hashes."""
    from .. import gallery, notebooks

    problems = gallery.verify(args.out, notebooks.read_all())
    print("\n".join(problems) or f"every file in {args.out} is as it was recorded")
    return 1 if problems else 0


def run_claims(args: argparse.Namespace) -> int:
    """Print the table of claims."""
    from .. import gallery, notebooks

    rows = gallery.claims_table(args.out, notebooks.read_all())
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        missing = "not measurable" if row["note"] else "not measured yet"
        verdict = {None: missing, True: "holds", False: "DOES NOT HOLD"}[row["holds"]]
        value = "" if row["measured"] is None else f"{row['measured']:.4g}"
        print(f"{row['id']:8} {verdict:17} {value:>9} {row['expected']:9} {row['text']}")
    return 0
