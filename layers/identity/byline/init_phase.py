"""A shorter init phase: Python's garbage collector is off while modules are imported.

Imported objects stay for the life of the process, so collecting among them frees nothing. It costs
19 of the 283 ms of CPU time that a cold start of RunsFunction takes.

    from byline.init_phase import end_init  # the first import: it stops the collector
    ...
    end_init()
"""

import gc

gc.disable()


def end_init() -> None:
    """Start the collector. It ignores the objects that init has made.

    https://docs.python.org/3/library/gc.html#gc.freeze
    """
    gc.freeze()
    gc.enable()
