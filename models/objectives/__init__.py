"""The terms of the student's objective and of its baselines, one module each, on plain tensors."""
