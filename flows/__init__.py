"""Prefect around the stages: tasks, the flow, and what deployments need."""
