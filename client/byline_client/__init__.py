"""Byline's client: the command `byline`, and a Python library.

Nothing is imported here, so that a program pays only for the parts that it uses.
"""

from byline_client.version import VERSION

__version__ = VERSION
