"""ServeConsoleFunction: serves the files of the web console."""
