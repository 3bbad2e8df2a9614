"""Retrieval and attribution end to end on tiny models, against computations of their own."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from data.errors import FlipkdError
from data.schema import ATTRIBUTION, RANKINGS, RETRIEVAL
from pipeline.cli.main import app
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.config.location import store_of
from pipeline.contract.stage import Context
from pipeline.housekeeping.lineage import lineage
from pipeline.housekeeping.verify import verify_store
from pipeline.runner.check import checked_side_plan
from pipeline.runner.execute import execute
from pipeline.runner.plan import plan, side_step
from pipeline.stages.attribution.view import grid, markdown
from pipeline.stages.retrieve.task import build_task
from tests.tiny import WORDS, tiny_config


def config_file(folder: Path) -> Path:
    """Twelve FAQ entries of eight phrasings, split by text; adapters on the last layer alone."""
    words = [word for word in WORDS.split() if len(word) > 2]
    draw = random.Random(0)
    with (folder / "faq.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["id", "text"])
        for entry in range(12):
            core = draw.sample(words, 2)
            for _ in range(8):
                text = [*core, *draw.sample(words, 5)]
                draw.shuffle(text)
                out.writerow([f"entry {entry}", " ".join(text)])
    config = tiny_config(
        folder,
        prepare={
            "inputs": [{"kind": "utterances", "path": str(folder / "faq.csv")}],
            "splitting": {"by": "text", "dev": 0.25, "test": 0.25},
            "pairs": {"encoder": str(folder / "teacher"), "positives_per_id": 2},
        },
        teach={"model": str(folder / "teacher"), "tune": False},
        distill={"lora": {"rank": 4, "alpha": 8, "last_layers": 1}, "text_epochs": 1, "warm_up": {"epochs": 1}},
        retrieve={"candidates": 5, "bootstrap": 200},
    )
    path = folder / "faq.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_none=True)), "utf-8")
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Path:
    folder = tmp_path_factory.mktemp("beside")
    path = config_file(folder)
    for command in ("retrieve", "attribution"):
        result = CliRunner().invoke(app, [command, str(path), "-o", str(folder / command)])
        assert result.exit_code == 0, result.output
        (folder / f"{command}.txt").write_text(result.output, "utf-8")
    return folder


def artifact(config: Config, stage: str) -> Path:
    steps = plan(config, "distill")
    steps.append(side_step("measure", config, steps))
    steps += [side_step(name, config, steps) for name in ("retrieve", "attribution")]
    return store_of(config).path(stage, next(step.key for step in steps if step.stage == stage))


def context(config: Config) -> Context:
    return Context(0, Path(), Path(), store_of(config), {"distill.model": config.distill.model})


def test_the_encoders_metrics_are_the_evaluators(done: Path) -> None:
    """One catalogue question an entry: then sentence-transformers can rank and measure all by itself."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    from pipeline.stages.distill.artifact import distilled_student

    config = load_config(done / "faq.yaml")
    task = build_task(
        pl.read_parquet(artifact(config, "prepare") / "utterances.parquet"), phrasings=1, queries=500, seed=13
    )
    evaluator = InformationRetrievalEvaluator(
        {str(n): text for n, text in enumerate(task.queries)},
        dict(zip(task.entries, task.documents, strict=True)),
        {str(n): {task.entries[right[0]]} for n, right in enumerate(task.relevant)},
    )
    told = json.loads((done / "retrieve/retrieval.json").read_text("utf-8"))
    assert (told["entries"], told["queries"], told["candidates"]) == (12, 24, 5)
    student = SentenceTransformer(
        modules=[distilled_student(artifact(config, "distill"), context(config))], device="cpu"
    )
    teacher = SentenceTransformer(str(artifact(config, "teach") / "teacher"), device="cpu")
    for name, model in (("encoder", student), ("teacher", teacher)):
        theirs = evaluator(model)
        for metric, found in told["scores"][name].items():
            assert found["value"] == pytest.approx(theirs[f"cosine_{metric}"]), (name, metric)


def test_the_decoder_reorders_the_encoders_first(done: Path) -> None:
    from pipeline.stages.distill.artifact import distilled_student

    config = load_config(done / "faq.yaml")
    rows = pl.read_parquet(done / "retrieve/retrieval.parquet")
    assert pq.read_schema(done / "retrieve/retrieval.parquet").equals(RETRIEVAL)
    utterances = pl.read_parquet(artifact(config, "prepare") / "utterances.parquet")
    task = build_task(utterances, phrasings=1, queries=500, seed=13)
    truth = {text: task.entries[right[0]] for text, right in zip(task.queries, task.relevant, strict=True)}
    assert dict(rows.select("query", "entry").iter_rows()) == truth

    fusion = json.loads((artifact(config, "measure") / "metrics.json").read_text("utf-8"))["fusion"]
    student = distilled_student(artifact(config, "distill"), context(config), {"fusion": fusion})
    for row in rows.head(6).to_dicts():
        scores = student.match([(row["query"], document) for document in task.documents])
        first = np.argsort(-scores["encoder"])[:5]
        assert task.entries[first[0]] == row["encoder_first"]
        for name in ("decoder", "fused"):
            order = [task.entries[n] for n in first[np.argsort(-scores[name][first])]]
            assert order[0] == row[f"{name}_first"]
            expected = order.index(row["entry"]) + 1 if row["entry"] in order else row["encoder_rank"]
            assert row[f"{name}_rank"] == expected


def test_the_questions_clusters_are_those_of_the_vectors(done: Path) -> None:
    from models.teacher.bi_encoder import embed, load_teacher
    from pipeline.evaluation.clustering import clustering

    config = load_config(done / "faq.yaml")
    told = json.loads((done / "retrieve/retrieval.json").read_text("utf-8"))["clustering"]
    rows = pl.read_parquet(done / "retrieve/retrieval.parquet")
    ids = rows["entry"].to_list()
    assert (told["questions"], told["clusters"]) == (rows.height, len(set(ids)))
    assert list(told["scores"]) == ["teacher", "encoder_untrained", "encoder"]
    vectors = embed(load_teacher(artifact(config, "teach") / "teacher"), rows["query"].to_list())
    expected = clustering(vectors.astype(np.float64), ids, config.seed)
    for metric, found in expected.items():
        assert told["scores"]["teacher"][metric]["value"] == pytest.approx(found["value"], abs=0.02)
    table = (done / "retrieve/retrieval.md").read_text("utf-8")
    assert f"{rows.height} questions in {len(set(ids))} clusters by k-means" in table
    assert "| student, encoder | " in table


def test_metrics_follow_from_the_ranks(done: Path) -> None:
    rows = pl.read_parquet(done / "retrieve/retrieval.parquet")
    scores = json.loads((done / "retrieve/retrieval.json").read_text("utf-8"))["scores"]
    assert list(scores) == list(RANKINGS)
    for name, found in scores.items():
        rank = rows[f"{name}_rank"].to_numpy()
        assert found["recall@1"]["value"] == pytest.approx((rank == 1).mean())
        assert found["recall@5"]["value"] == pytest.approx((rank <= 5).mean())
        assert found["mrr@10"]["value"] == pytest.approx(np.where(rank <= 10, 1 / rank, 0).mean())
        assert found["ndcg@10"]["value"] == pytest.approx(np.where(rank <= 10, 1 / np.log2(rank + 1), 0).mean())
        assert all(one["low"] <= one["value"] <= one["high"] for one in found.values())


def dev_pairs(config: Config) -> pl.DataFrame:
    rows = pl.read_parquet(artifact(config, "score") / "scores.parquet")
    return rows.filter(pl.col("split") == "dev", pl.col("label").is_not_null())


def by_hand(config: Config, name: str) -> Mapping[str, float]:
    """AUROC of one layer, a text at a time, by hooks on the peft model that distill trained."""
    from models.loading.convert import converted
    from models.loading.names import find_model
    from models.student.student import load_base
    from pipeline.stages.distill.build import build

    base = converted(find_model(config.distill.model), store_of(config).models)
    student = build(*load_base(base), config.distill).eval()
    student.load_adapter(load_file(artifact(config, "distill") / "adapter/adapter_model.safetensors"))
    layer = student.lm.get_base_model().get_submodule(name)
    kept: dict[str, torch.Tensor] = {}
    layer.register_forward_pre_hook(lambda _m, args: kept.update(auroc_input=args[0]))
    if hasattr(layer, "lora_A"):
        layer.lora_A["default"].register_forward_hook(lambda _m, _a, out: kept.update(auroc_adapter=out))

    def vectors(text: str) -> dict[str, np.ndarray]:
        ids = student.prompt.texts([text])[0]
        prompt = torch.tensor([[*student.prompt.head, *ids]])
        with torch.no_grad():
            student.lm(input_ids=prompt, attention_mask=torch.ones_like(prompt))
        return {view: out[0, len(student.prompt.head) :].mean(0).numpy() for view, out in kept.items()}

    rows = dev_pairs(config)
    found = {text: vectors(text) for text in {*rows["text_a"], *rows["text_b"]}}
    scores: dict[str, list[float]] = {view: [] for view in kept}
    for a, b in rows.select("text_a", "text_b").iter_rows():
        for view, values in scores.items():
            x, y = found[a][view], found[b][view]
            values.append(float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)))
    return {view: float(roc_auc_score(rows["label"], values)) for view, values in scores.items()}


@pytest.mark.parametrize(
    "name",
    ["model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj", "model.layers.1.self_attn.v_proj"],
)
def test_attribution_of_a_layer_against_hooks_on_the_peft_model(done: Path, name: str) -> None:
    """A site below the adapters, a layer without an adapter, and an adapted layer that is no site."""
    table = pl.read_parquet(done / "attribution/attribution.parquet")
    row = table.filter(layer=int(name.split(".")[2]), module=name.rpartition(".")[2]).row(0, named=True)
    expected = by_hand(load_config(done / "faq.yaml"), name)
    assert row["site"] == name.endswith("q_proj")
    assert row["auroc_input"] == pytest.approx(expected["auroc_input"], abs=2e-3)
    assert row["auroc_adapter"] == pytest.approx(expected.get("auroc_adapter"), abs=2e-3)


def test_every_layer_has_a_row_and_a_place_in_the_figure(done: Path) -> None:
    path = done / "attribution/attribution.parquet"
    table = pl.read_parquet(path)
    assert pq.read_schema(path).equals(ATTRIBUTION)
    assert table.height == 2 * 7
    assert table.group_by("layer").len()["len"].to_list() == [7, 7]
    # Adapters on the last layer, and on the sites below it that only read.
    adapted = {(layer, module) for layer, module in table.drop_nulls().select("layer", "module").iter_rows()}
    assert adapted == {(0, "q_proj"), *((1, module) for module in table.filter(layer=1)["module"])}
    assert np.isnan(grid(table, "auroc_adapter")).sum() == 6
    assert grid(table, "auroc_input").shape == (2, 7)
    assert markdown(table).count("\n") == 9
    assert (done / "attribution/attribution.png").read_bytes().startswith(b"\x89PNG")


def test_the_terminal_shows_the_tables(done: Path) -> None:
    told = (done / "retrieve.txt").read_text("utf-8")
    assert "24 questions, to 12 FAQ entries" in told
    assert "| student, first 5 by the decoder |" in told
    assert "| `down_proj` |" in (done / "attribution.txt").read_text("utf-8")


def test_the_same_again_is_the_same(done: Path) -> None:
    config = load_config(done / "faq.yaml")
    steps = plan(config, "distill")
    steps.append(side_step("measure", config, steps))
    for stage, names in (
        ("retrieve", ("retrieval.json", "retrieval.parquet")),
        ("attribution", ("attribution.parquet", "attribution.png")),
    ):
        step = side_step(stage, config, steps)
        before = {name: (artifact(config, stage) / name).read_bytes() for name in names}
        execute(step, config, store_of(config), refresh=True)
        assert {name: (artifact(config, stage) / name).read_bytes() for name in names} == before


def test_the_store_knows_what_they_are(done: Path) -> None:
    config = load_config(done / "faq.yaml")
    store = store_of(config)
    assert verify_store(store).ok
    for stage in ("retrieve", "attribution"):
        told = lineage(store, (stage, artifact(config, stage).name))
        assert any(name.startswith("prepare/") for name in told["artifacts"])
        assert (
            f"{stage}/{artifact(config, stage).name}"
            in lineage(store, ("distill", artifact(config, "distill").name))["used_by"]
        )


def test_pairs_alone_are_refused_before_anything_runs(tmp_path: Path, prefect_server: None) -> None:
    config = tiny_config(tmp_path)
    with pytest.raises(FlipkdError, match="kind: utterances"):
        checked_side_plan(config, "retrieve")
    assert not (tmp_path / "store/artifacts").exists()


def test_what_is_wrong_is_told_before_prefect_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.analyse.analyse", lambda *_: pytest.fail("started"))
    config = tmp_path / "pairs.yaml"
    config.write_text(yaml.safe_dump(tiny_config(tmp_path).model_dump(mode="json", exclude_none=True)), "utf-8")
    told = CliRunner().invoke(app, ["retrieve", str(config), "-o", str(tmp_path / "out")])
    assert told.exit_code == 1
    assert "holds pairs alone" in told.stderr
    assert not (tmp_path / "out").exists()
    told = CliRunner().invoke(app, ["attribution", str(config), "-o", str(config)])
    assert told.exit_code == 1
    assert f"-o {config}: is a file; name another folder" in told.stderr
