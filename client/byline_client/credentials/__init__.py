"""Where the access token comes from: environment, files, identity of the machine, sign-in."""
