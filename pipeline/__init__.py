"""The stages of flipkd, their config, the artifact store, and the command line."""

import os

# Threads that wait for each other spin by default, for milliseconds. On two cores with anything else running, the
# spinner keeps the one it waits for from running: training was measured four times slower beside one busy process.
# A short spin costs nothing on a quiet machine. It has to be said before torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
