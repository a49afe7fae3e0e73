"""The samples of a run, which ``run.json`` names by their spec, or others in their place."""

from typing import Any

from phosphene.arguments import Samples, to_pool_of_shape
from phosphene.errors import SamplesError
from phosphene.samples import SamplePool


def samples_of_run(facts: dict[str, Any], samples: Samples, shape: tuple[int, int, int]) -> SamplePool:
    """Return the pool of ``samples`` if given; else load those that run.json's ``facts`` name; SamplesError if they changed or are gone.

    Args:
        facts: The content of ``run.json``.
        samples: Samples to take instead; ``None`` for those of the run.
        shape: Channels, height and width of the maps.

    Raises:
        SamplesError: the samples cannot be read, do not fit ``shape``, or are not those of the run any more.
    """
    if samples is not None:
        return to_pool_of_shape(samples, shape)
    spec, sha256 = facts["samples"]["spec"], facts["samples"]["sha256"]
    try:
        pool = to_pool_of_shape(spec, shape)
    except SamplesError as error:
        raise SamplesError(f"the run's samples cannot be had again, choose others with --samples: {error}") from None
    if pool.sha256 != sha256:
        raise SamplesError(f"samples {spec} have changed since the run: choose others with --samples.")
    return pool
