"""The commands. `byline_client.cli.app` lists them.

A module has a function `command`, whose docstring is the help text, and `EXAMPLES`. With
`SUBCOMMANDS`, functions by name, `command` is what happens without one of them.
"""
