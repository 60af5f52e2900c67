"""RefreshTokensFunction: replaces the tokens that are due."""
