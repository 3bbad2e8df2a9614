"""The terms of the student's objective, one module each, on plain tensors."""
