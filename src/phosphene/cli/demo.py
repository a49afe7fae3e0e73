"""``phosphene demo``: maps, scores and scans of the demo networks."""

from pathlib import Path

import click

from phosphene.cli import options
from phosphene.cli.progress import MapProgress
from phosphene.errors import NumericError
from phosphene.report.formats import count
from phosphene.workflows.demo import SOURCE, demo_folder, run_demo


@click.command("demo", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [below runs/, by recipe]")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:1.")
@options.as_json
def command(out: "Path | None", device: str, as_json: bool) -> None:
    """Map every class of a small network that comes with the package: no data, no download, about a minute.

    The network was trained on drawn shapes, and its maps should show them. Another network then scores the maps, and
    two networks are scanned for backdoors; one of them has one.
    """
    with MapProgress(SOURCE) as progress:
        result = run_demo(out or demo_folder(), device, progress)
    if as_json:
        scores = [score.to_dict() for score in result.scores.values()]
        scans = [{key: found[key] for key in ("model", "verdict", "p_value")} for found in result.scans.values()]
        document = {"report": result.report, "scores": scores, "scans": scans, "as_expected": result.as_expected}
        options.print_json(document)
    else:
        click.echo(f"{count(len(result.maps), 'map')} of {SOURCE}, made without any image of its training data:")
        for spec, score in result.scores.items():
            click.echo(f"  scored by {spec:<18} M_score {score.m_score:.2f}, top-1 {score.top1_all:.0%}")
        for spec, found in result.scans.items():
            click.echo(f"scan of {spec}: {found['verdict']} (p = {found['p_value']:.2g}). {found['reasons'][0]}")
        click.echo(f"open {result.report} or the sheet.png beside it")
    if not result.as_expected:
        raise NumericError("the maps or scans are not as expected: this installation computes other results.")
