"""Agents: applications that may act in a project for whoever's token they carry."""
