"""The command `byline`: one module for each command, loaded when it is called."""
