"""The Python interface: one function per command; the package root exports them all.

A model is a spec or a :class:`~phosphene.classifier.Classifier`; a run is the path of a run directory, an open one, or
maps that were saved. ``progress`` is shown on stderr unless it is false. What does not fit raises a
:class:`~phosphene.errors.PhospheneError`, whose one line names the fix: of a wrong type or an unknown option, an
:class:`~phosphene.errors.ArgumentError`, which is a ``TypeError``, too.
"""
