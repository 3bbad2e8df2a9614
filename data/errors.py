"""The one exception that means: the input, the config or the machine is wrong, and here is what to do."""


class FlipkdError(Exception):
    """A message for the user: what is wrong, where, and what to do. Shown without a traceback."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its kind if it says nothing."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, ValueError) and said and type(error) is ValueError:
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
