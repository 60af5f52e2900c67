"""Byline's layer: what its functions share.

    identity = Identity(IdentitySettings.from_environment(os.environ))
    caller = identity.identify(event)

Nothing is imported here: a function loads the modules it uses and pays for no others at cold start.
"""

VERSION = "0.1.0"
"""That of `pyproject.toml`. A test compares them."""
