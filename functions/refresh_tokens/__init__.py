"""RefreshTokensFunction: replaces the tokens of runners that are due."""
