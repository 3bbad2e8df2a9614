"""The stages of flipkd, their config, the artifact store, and the command line."""

import importlib.util
import os
from pathlib import Path

# Threads that wait for each other spin by default, for milliseconds. On two cores with anything else running, the
# spinner keeps the one it waits for from running: training was measured four times slower beside one busy process.
# A short spin costs nothing on a quiet machine. It has to be said before torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

# flipkd's packages have plain names. Another folder of such a name would give errors that lead nowhere.
for _name in ("data", "flows", "models"):
    _spec = importlib.util.find_spec(_name)
    _places = [Path(place).resolve() for place in (_spec.submodule_search_locations or [])] if _spec else []
    _own = Path(__file__).resolve().parents[1] / _name
    if _own not in _places:
        _there = _places[0] if _places else "a module or not there"
        raise ImportError(
            f"`{_name}` is {_there}, not flipkd's own ({_own}): flipkd is an application with an environment "
            "of its own. Install it apart (uv tool install, pipx, or make in a checkout), and from Python run it "
            f"outside of folders that hold a `{_name}` (or with python -P)"
        )
