"""Commands that write data and notebooks: fetch, student."""

import argparse
import sys


def run_fetch(args: argparse.Namespace) -> int:
    """Download a data set."""
    from ...data import broden

    folder = broden.fetch(
        args.name,
        args.out,
        url=args.url,
        sha256=args.sha256,
        on_progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(folder)
    return 0


def run_student(args: argparse.Namespace) -> int:
    """Copy notebooks without their solutions."""
    from .. import course, notebooks

    texts = course.copies(args.notebook, notebooks.read_all())
    for file in course.write(texts, args.out, force=args.force):
        print(file)
    return 0
