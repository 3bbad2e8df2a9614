"""One stage at a time on the GPU, whichever flow or deployment it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.concurrency.sync import concurrency
from prefect.settings import PREFECT_API_URL

from pipeline.stages.registry import ALL_STAGES

LIMIT = "gpu"  # a global concurrency limit of the server; `flipkd deploy` creates it


@contextmanager
def gpu_slot(stage: str) -> Iterator[None]:
    """Wait for the slot `gpu` of the server and hold it, if the stage will use a GPU.

    Nothing is waited for without a GPU, and without a server of one's own: then nobody else is counted. A server
    without the limit lets the stage through. The slot is taken before the store's lock, by all alike, so two
    runs cannot wait for each other. A slot whose holder was killed comes back within five minutes.
    """
    if not ALL_STAGES[stage].uses_gpu or not PREFECT_API_URL.value() or not gpu_present():
        yield
        return
    # A server that is restarted during a long training must not end it.
    with concurrency(LIMIT, strict=False, raise_on_lease_renewal_failure=False):
        yield


def gpu_present() -> bool:
    import torch

    return torch.cuda.is_available()
