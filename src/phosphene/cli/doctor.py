"""``phosphene doctor``: what works here, and whether a model makes sense of its input."""

import click

from phosphene.cli import options
from phosphene.doctor import examine_machine, examine_model
from phosphene.samples import default, load_samples
from phosphene.sources import load


@click.command("doctor", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", required=False)
@click.option("--samples", metavar="SPEC", help="Pictures to try the model on; natural ones tell most.")
@options.machine
@options.trust
@options.as_json
def command(
    model: "str | None", samples: "str | None", device: str, precision: str, trust: bool, as_json: bool
) -> None:
    """Say what works on this machine; with MODEL, whether the network makes sense of its declared input."""
    facts = examine_machine()
    if model is not None:
        classifier = load(model, trust=trust)
        pool = load_samples(samples or default(model), classifier.input.shape)
        facts |= examine_model(classifier, pool, device=device, precision=precision)
    if as_json:
        options.print_json(facts)
        return
    for key, value in facts.items():
        click.echo(f"{key.replace('_', ' '):<16} {value}")
