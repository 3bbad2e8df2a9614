"""Readers, schema, pair building, and the sample that ships with the project."""
