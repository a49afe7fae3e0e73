"""``phosphene demo``: maps, scores and scans of the demo networks."""

from pathlib import Path

import click

import phosphene as ph
from phosphene.cli import options, preview
from phosphene.errors import NumericError
from phosphene.formats import count, percent
from phosphene.progress import ProgressDisplay

CAVEAT = """Clean does not mean that there is no backdoor. The one that is there was planted for this demo, and both scans used
drawings like those that the networks were trained on. p is a rank among clean networks, and not a rate of false alarms
(docs/backdoor.md says how many were called). The demo's networks were trained on the same images as each other, and
against small changes of them, without which their maps were noise when we tried: other networks may do worse."""


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [below runs/, by recipe]")
@options.device
@preview.option
@options.as_json
def command(out: "Path | None", device: str, preview_shown: bool, as_json: bool) -> None:
    """Map a small network that comes with the package, score the maps, scan two networks, print the results; exit 2 if any is wrong.

    No data, no download, one to two minutes. The network was trained on drawn shapes, and its maps should show them; one
    of the two scanned networks has a backdoor, which was planted for the demo.
    """
    with ProgressDisplay("load torch") as display:
        outcome = ph.run_demo(out, device=device, progress=display)
    if as_json:
        scores = [score.to_dict() for score in outcome.scores.values()]
        scans = [{key: one.document[key] for key in ("model", "verdict", "p_value")} for one in outcome.scans.values()]
        document = {"report": outcome.report, "scores": scores, "scans": scans, "as_expected": outcome.as_expected}
        options.print_json(document, display.warnings)
    else:
        if preview_shown:
            preview.show(Path(outcome.report).with_name("sheet.png"))
        source = next(iter(outcome.scores))
        click.echo(f"{count(len(outcome.maps), 'map')} of {source}, made with colours and noise as samples:")
        for spec, score in outcome.scores.items():
            note = ", which they were optimised for" if spec == source else ""
            click.echo(f"  scored by {spec:<18} M_score {score.m_score:.2f}, top-1 {percent(score.top1_all)}{note}")
        for spec, verdict in outcome.scans.items():
            click.echo(f"scan of {spec}: {verdict.verdict}. {verdict.reasons[0]}")
        click.echo(CAVEAT)
        click.echo(f"{display.elapsed} in all; open {outcome.report}, which links the other scan, or its sheet.png")
    if not outcome.as_expected:
        raise NumericError("the maps or scans are not as expected: this installation computes other results.")
