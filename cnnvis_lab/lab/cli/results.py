"""Commands on notebooks and their results: render, params, verify, claims, compare."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from ...core import choose
from . import options


@click.command("render")
@options.notebook
@click.option(
    "--preset",
    default="default",
    shell_complete=options.complete_preset,
    help="Size of the run: smoke (quick), default, or paper (the authors' numbers of steps).",
)
@click.option(
    "-p",
    "parameters",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="Set a parameter of the notebooks; may be repeated.",
)
@options.text("--model", metavar="NAME", help="Network to analyze: sets MODEL.")
@options.text(
    "--weights", metavar="FILE", callback=options.weights_path, help="Its weights: sets WEIGHTS."
)
@options.own_network
@options.jobs("Notebooks run at the same time.", default=2)
@options.cluster
@click.option("--force", is_flag=True, help="Also run notebooks that are up to date.")
@click.option("--keep-going", is_flag=True, help="Continue with other notebooks after a failure.")
@click.option("--dry-run", is_flag=True, help="Only say what would be drawn, and why.")
@options.results
def render_notebooks(**given: Any) -> int:
    """Render the figures of notebooks, with a gallery of them.

    NOTEBOOK is a name or its beginning, such as 01; without any, all are rendered. Notebooks that
    are up to date are skipped, and an interrupted run resumes.

    \b
    Example:
      cnnvis render 01 03 --preset smoke -p MODEL zfnet_mini --out try
    """
    from .. import inputs, notebooks, render

    args = SimpleNamespace(**given)
    known = notebooks.read_all()
    model_options = {"input_size": args.input_size, "channels": args.channels}
    model_options["classes"] = args.classes and str(Path(args.classes).resolve())
    model_options = {name: value for name, value in model_options.items() if value}
    options_set = {"MODEL": args.model, "WEIGHTS": args.weights, "MODEL_OPTIONS": model_options}
    overrides = dict(args.parameters) | {k: value for k, value in options_set.items() if value}
    with options.naming("--preset"):
        choose("preset", args.preset, dict.fromkeys(notebooks.PRESETS))
    jobs = render.plan(
        args.notebook,
        known,
        preset=args.preset,
        overrides=overrides,
        out=args.out.resolve(),
        check=None if args.dry_run else inputs.check,
    )
    if args.dry_run:
        click.echo("\n".join(render.explain(jobs, known, force=args.force)))
        return 0
    failures = render.render(
        jobs,
        known,
        workers=args.jobs,
        cluster=args.cluster,
        force=args.force,
        keep_going=args.keep_going,
    )
    return 1 if failures else 0


@click.command("params")
@click.argument("notebook", shell_complete=options.complete_notebook)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a list.")
def list_parameters(notebook: str, as_json: bool) -> None:
    """List a notebook's parameters: types, defaults, ranges, and what the presets change.

    NOTEBOOK is a name or its beginning, such as 01.

    \b
    Example:
      cnnvis params 05
    \f

    Args:
        notebook: a name or its beginning.
        as_json: print JSON.
    """
    from .. import notebooks

    found = notebooks.find(notebook, notebooks.read_all())
    rows = [
        {
            "name": one.name,
            "type": one.type,
            "default": one.default,
            "range": one.range_with(found.sizes_of("default")),
            "comment": one.comment,
            "presets": {
                p: values[one.name] for p, values in found.presets.items() if one.name in values
            },
        }
        for one in found.parameters.values()
    ]
    click.echo(json.dumps(rows, indent=1) if as_json else "\n".join(map(_parameter_lines, rows)))


def _parameter_lines(row: dict[str, Any]) -> str:
    range_, presets = row["range"] and f"  ({row['range']})", row["presets"]
    changes = "; ".join(f"{preset}: {value!r}" for preset, value in presets.items())
    lines = [f"{row['name']}: {row['type']} = {row['default']!r}{range_}", f"    {row['comment']}"]
    return "\n".join([*lines, f"    {changes}"] if changes else lines)


@click.command("verify")
@options.results
def verify_results(out: Path) -> int:
    """Check every file of a results folder against its recorded hash.

    \b
    Example:
      cnnvis verify --out reports
    \f

    Args:
        out: the results folder.
    """
    from .. import gallery, notebooks

    problems = gallery.verify(out, notebooks.read_all())
    click.echo("\n".join(problems) or f"every file in {out} is as it was when recorded")
    return 1 if problems else 0


@click.command("claims")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@options.results
def list_claims(as_json: bool, out: Path) -> None:
    """List every claim, what was measured for it, and whether it holds.

    \b
    Example:
      cnnvis claims --json
    \f

    Args:
        as_json: print JSON.
        out: the results folder.
    """
    from .. import gallery, notebooks

    rows = gallery.claims_table(out, notebooks.read_all())
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        missing = "not measurable" if row["note"] else "not measured yet"
        verdict = {None: missing, True: "holds", False: "DOES NOT HOLD"}[row["holds"]]
        value = "" if row["measured"] is None else f"{row['measured']:.4g}"
        click.echo(f"{row['id']:8} {verdict:17} {value:>9} {row['expected']:9} {row['text']}")


@click.command("compare")
@click.argument("first", type=options.FOLDER)
@click.argument("second", type=options.FOLDER)
@click.option(
    "--out", type=options.FOLDER, default="reports/compared.html", help="File of the page."
)
def compare_results(first: Path, second: Path, out: Path) -> None:
    """Compare two results folders on one page.

    \b
    Example:
      cnnvis compare reports try --out compared.html
    \f

    Args:
        first: a results folder.
        second: another results folder.
        out: the file of the page.
    """
    from .. import gallery, notebooks

    click.echo(gallery.compare.write(first, second, out, notebooks.read_all()))
