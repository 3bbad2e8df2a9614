"""Prefect: the pipeline as one flow, a task a stage, and its cache. Nothing but this package imports Prefect."""

from flows import local as local  # sets what Prefect reads from the environment, before Prefect is imported
