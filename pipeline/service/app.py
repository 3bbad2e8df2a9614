"""A student behind HTTP: pairs, texts and questions in JSON, answers in JSON.

    POST /match   {"pairs": [["freeze my card", "cancel my card"]]}  decoder, encoder, fused, matches of each
    POST /embed   {"texts": ["freeze my card"]}                      unit vectors of the encoder view
    POST /search  {"queries": ["freeze my card"], "k": 3}            the best entries of the catalogue
    GET  /health                                                     200 once the model answers

Copy it: it is what a service of one's own needs and no more. It has no log-in, so it listens to this machine alone
unless it is told otherwise; put what you trust in front of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from models.runtime.precision import matrix_precision
from models.student.flipkd_student import FlipkdStudent
from models.student.load import score_pairs
from pipeline.service.batches import Batches
from pipeline.stages.export.catalogue_search import Catalogue, best_entries

MOST_ITEMS = 1024  # of a request
MOST_BYTES = 2**24
BATCH = 64
Text = Annotated[str, Field(min_length=1, max_length=100_000)]


class Pairs(BaseModel):
    """What `/match` is asked."""

    model_config = ConfigDict(extra="forbid")
    pairs: Annotated[list[tuple[Text, Text]], Field(max_length=MOST_ITEMS)]


class Texts(BaseModel):
    """What `/embed` is asked."""

    model_config = ConfigDict(extra="forbid")
    texts: Annotated[list[Text], Field(max_length=MOST_ITEMS)]


class Queries(BaseModel):
    """What `/search` is asked."""

    model_config = ConfigDict(extra="forbid")
    queries: Annotated[list[Text], Field(max_length=MOST_ITEMS)]
    k: Annotated[int, Field(ge=1, le=100)] = 5


def create_app(student: FlipkdStudent, catalogue: Catalogue | None = None, candidates: int = 10) -> FastAPI:
    """The service of one student; start it once for each device.

    Args:
        catalogue: of this student, for `/search`.
        candidates: how many of the encoder's first entries the decoder ranks anew.
    """
    device = ThreadPoolExecutor(1, thread_name_prefix="student")
    match = Batches(lambda pairs: _rows(student, pairs), device, BATCH)
    embed = Batches(lambda texts: _vectors(student, texts), device, BATCH)
    search = catalogue and Batches(lambda asked: _found(catalogue, asked, candidates), device, BATCH)

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.get_running_loop().run_in_executor(device, _rows, student, [("a", "b")])
        tasks = [asyncio.create_task(queue.run()) for queue in (match, embed, search) if queue]
        yield
        for task in tasks:
            task.cancel()
        device.shutdown(cancel_futures=True)

    # The pages of FastAPI's documentation load scripts from elsewhere.
    app = FastAPI(title="A student of flipkd", lifespan=running, docs_url=None, redoc_url=None)

    @app.middleware("http")
    async def not_too_much(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length", "")
        if request.method == "POST" and not (length.isdigit() and int(length) <= MOST_BYTES):
            told = f"give a body with a Content-Length of at most {MOST_BYTES} bytes"
            return JSONResponse({"detail": told}, status_code=413)
        return await answer(request)

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> Response:
        # Without the input itself, which may be long, or half a letter that JSON cannot hold.
        told = [{name: part[name] for name in ("type", "loc", "msg")} for part in error.errors()]
        return JSONResponse({"detail": jsonable_encoder(told)}, status_code=422)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        told: dict[str, Any] = {"status": "ok", "student": student.folder and student.folder.name}
        return told | ({"entries": len(catalogue.texts)} if catalogue else {})

    @app.post("/match")
    async def answer_pairs(asked: Pairs) -> dict[str, Any]:
        return {"scores": await match.ask(list(asked.pairs))}

    @app.post("/embed")
    async def answer_texts(asked: Texts) -> dict[str, Any]:
        return {"embeddings": await embed.ask(asked.texts)}

    @app.post("/search")
    async def answer_queries(asked: Queries) -> dict[str, Any]:
        if search is None:
            raise HTTPException(404, "this service was started without a catalogue")
        return {"answers": await search.ask([(query, asked.k) for query in asked.queries])}

    return app


def _rows(student: FlipkdStudent, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """The scores of pairs, one mapping each."""
    scores = score_pairs(student, pairs, BATCH)
    return [{name: values[n].item() for name, values in scores.items()} for n in range(len(pairs))]


def _vectors(student: FlipkdStudent, texts: list[str]) -> list[list[float]]:
    with matrix_precision("fp32"):
        return student.embed(texts, BATCH).tolist()


def _found(catalogue: Catalogue, asked: list[tuple[str, int]], candidates: int) -> list[list[dict[str, Any]]]:
    """The best entries of each query, with their texts; as many as each asked for."""
    most = max(k for _, k in asked)
    found = best_entries(catalogue, [query for query, _ in asked], most, candidates)
    return [
        [{"text": catalogue.texts[row["entry"]], **row, "entry": catalogue.rows[row["entry"]]} for row in best[:k]]
        for best, (_, k) in zip(found, asked, strict=True)
    ]
