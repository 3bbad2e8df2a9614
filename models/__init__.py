"""Teacher, student, objectives, and how a model's name becomes a model."""
