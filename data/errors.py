"""The one exception that means: the input, the config or the machine is wrong, and here is what to do."""


class FlipkdError(Exception):
    """A message for the user: what is wrong, where, and what to do. Shown without a traceback."""
