"""Tells whether a form's values can be used, by the functions of the command line, before anything starts.

Loading a model may take long, fill the memory, run the model's code (if it is trusted) or crash. So it is done in a
process of its own, ``python -m phosphene.web.validate``, which reads the form and prints its faults as JSON.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from phosphene.errors import ConceptError, PhospheneError, RunError, SamplesError, one_line
from phosphene.web.form import Command, FormError

TIMEOUT = 60.0  # seconds; a command whose model takes longer to load, or must be downloaded, starts without this


class Faults(dict[str, str]):
    """What is wrong with the fields of a form: field -> message."""

    @contextlib.contextmanager
    def beside(self, field: str) -> Iterator[None]:
        """Store the message of an error that the ``with`` block raises under ``field``.

        A SamplesError goes under ``samples``. A RunError goes under ``run`` if that is ``field``, else under ``name``.
        What belongs to ``name`` is a whole plan, in which a ConceptError is that of a unit or a direction, and goes
        under ``concepts``.
        """
        try:
            with one_line(PhospheneError, "unexpected"):
                yield
        except SamplesError as error:
            self["samples"] = str(error)
        except RunError as error:
            self["run" if field == "run" else "name"] = str(error)
        except ConceptError as error:
            self["concepts" if field == "name" else field] = str(error)
        except PhospheneError as error:
            self[field] = str(error)


def validate(command: Command, run: Path) -> None:
    """Try a command's fields in a process of its own, for at most a minute.

    Args:
        command: The command.
        run: Its run directory.

    Raises:
        FormError: a field cannot be used.
    """
    form = json.dumps({"action": command.action, "values": command.values, "run": str(run)})
    # -P: a file in the working directory must not pass for a library.
    argv = [sys.executable, "-P", "-m", "phosphene.web.validate"]
    options: dict[str, Any] = {"capture_output": True, "encoding": "utf-8", "errors": "replace"}
    try:
        process = subprocess.run(argv, input=form, timeout=TIMEOUT, check=False, **options)  # noqa: S603  (no shell)
        faults = json.loads(process.stdout.splitlines()[-1])  # foreign code may have printed something before
    except subprocess.TimeoutExpired:
        return
    except (ValueError, IndexError):
        field = "run" if command.action == "check" else "model"
        faults = {field: f"The process that loaded the model ended with exit code {process.returncode} and no message."}
    if faults:
        raise FormError(faults)


def find_faults(action: str, values: Mapping[str, Any], run: Path) -> Faults:
    """Return the faults of a form's values, after loading model and samples and planning the action.

    Args:
        action: ``map``, ``scan`` or ``check``.
        values: Field -> value.
        run: The run directory.
    """
    # Imported here, because the server itself needs no network.
    from phosphene.arguments import seed_range, to_classifier, to_classifiers, to_concepts, to_pool  # noqa: PLC0415
    from phosphene.executors.base import MapOrigin  # noqa: PLC0415
    from phosphene.prompts import prompts_of  # noqa: PLC0415
    from phosphene.recipe import resolve  # noqa: PLC0415
    from phosphene.runs import RunDirectory  # noqa: PLC0415
    from phosphene.workflows.check import plan_checks  # noqa: PLC0415
    from phosphene.workflows.plan import plan  # noqa: PLC0415
    from phosphene.workflows.scan import RECIPE  # noqa: PLC0415
    from phosphene.workflows.scan_plan import plan_scan  # noqa: PLC0415

    faults, samples, trust = Faults(), values["samples"] or None, values["trust"]
    if action == "check":
        with faults.beside("run"):
            RunDirectory(run).require_finished()
            plan_checks(RunDirectory(run), most=values["most"], samples=samples, trust=trust)
        return faults
    recipe = values.get("recipe", RECIPE)
    with faults.beside("recipe"):
        recipe = resolve(recipe)
    if "recipe" not in faults:
        with faults.beside("set"):
            recipe = resolve(recipe, dict(one.split("=", 1) for one in values.get("set", [])))
    prompts: list[str] = []
    with faults.beside("concepts"):
        prompts = prompts_of(values.get("concepts"))
    with faults.beside("model"):
        try:
            classifier = to_classifier(values["model"], trust=trust, concepts=values.get("concepts"))
        except ConceptError as error:
            if not prompts and "concepts" not in faults:
                raise
            faults["concepts"] = str(error)
    with faults.beside("reference"):
        references = to_classifiers(values.get("reference", []), trust=trust)
    if {"model", "concepts"} & faults.keys():
        return faults
    concepts = None if action == "scan" or values["every"] else values["concepts"]
    with faults.beside("concepts"):
        to_concepts(concepts, classifier)
    with faults.beside("samples"):
        pool = to_pool(samples, classifier)
    if faults:
        return faults
    if action == "scan":
        with faults.beside("reference"):
            plan_scan(MapOrigin(classifier=classifier, pool=pool, recipe=recipe), out=run, reference=references)
    else:
        with faults.beside("name"):
            map_plan = plan(classifier, recipe, pool, run, concepts, seed_range(values["seed"], values["seeds"]))
            with faults.beside("set"), map_plan.engine() as engine:
                engine.spatial_layer(recipe.xi_layer)
    return faults


if __name__ == "__main__":
    form = json.load(sys.stdin)
    print(json.dumps(find_faults(form["action"], form["values"], Path(form["run"]))))  # noqa: T201
