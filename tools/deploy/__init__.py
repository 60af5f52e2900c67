"""Deploys a stack from a file of parameters, and says what DNS and the OpenID provider need."""
