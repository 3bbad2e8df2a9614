"""The HTML report shows every text of the data as text, to a parser and in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.publish import result_markdown
from flows.summary import summary_markdown
from pipeline.stages.export.report import TEMPLATES, write_report
from pipeline.store.manifest import read_manifest
from pipeline.store.store import Store
from tests.safety.conftest import HOSTILE, NAME, Watched

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
SCRIPT = (TEMPLATES / "report.js").read_text("utf-8")  # the one that may run
# What the template and the drawings are made of: nothing that loads or leads elsewhere.
TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "div", "span", "small", "b", "code",
    "pre", "table", "thead", "tbody", "tr", "th", "td", "figure", "article", "details", "summary", "svg", "g",
    "path", "use", "defs", "clippath", "rect", "text", "line", "input", "select", "option", "output", "script",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "name", "content", "http-equiv", "type", "class", "scope", "role", "aria-label", "dir",
    "open", "id", "style", "d", "transform", "x", "y", "width", "height", "viewbox", "xmlns", "xmlns:xlink",
    "version", "clip-path", "xlink:href", "hidden", "placeholder", "value", "data-list",
}  # fmt: skip


class Parsed(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.text = ""
        self.scripts: list[str] = []
        self.within = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.within = tag
        self.attributes |= {(name, value or "") for name, value in attrs}

    def handle_endtag(self, tag: str) -> None:
        self.within = ""

    def handle_data(self, data: str) -> None:
        if self.within == "script":
            self.scripts.append(data)
        else:
            self.text += data


@pytest.fixture(scope="module")
def report(watched: Watched) -> str:
    return (watched.artifact("export") / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hostile_report(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same report, with something hostile in every string that could come from a file or a config."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    export = watched.artifact("export")
    metrics = json.loads((export / "metrics.json").read_text(encoding="utf-8"))
    hostile = "".join(HOSTILE)
    rows = pl.read_parquet(export / "predictions.parquet").head(3).with_columns(pl.lit(hostile).alias("source"))
    stages = [stage for stage in metrics["artifacts"] if stage != "export"]
    write_report(
        path,
        metrics=metrics,
        split="test",
        verdict=hostile,
        by_heart=hostile,
        suspects=rows.with_columns(label_probability=0.1).to_dicts(),
        examples=rows.to_dicts(),
        figures={file.stem: file.read_text(encoding="utf-8") for file in (export / "figures").glob("*.svg")},
        manifests={stage: poisoned(read_manifest(watched.artifact(stage)).model_dump()) for stage in stages},
        models={"teacher": hostile, hostile: "student"},
        bounds={hostile: 0.5},
        footprint=dict.fromkeys(("dtype", "device"), hostile)
        | dict.fromkeys(("parameters", "adapter_parameters", "width"), 3)
        | dict.fromkeys(("text_ms", "pair_ms", "pairs_per_second"), 0.5),
    )
    return path.read_text(encoding="utf-8")


def poisoned(value: Any) -> Any:
    """Plain data with something hostile for each text in it, keys too (but those that the template asks for)."""
    if isinstance(value, dict):
        return {key: poisoned(inner) for key, inner in value.items()} | {HOSTILE[0]: HOSTILE[6]}
    if isinstance(value, list):
        return [poisoned(inner) for inner in value]
    return "".join(HOSTILE) if isinstance(value, str) else value


@pytest.mark.parametrize("which", ["report", "hostile_report"])
def test_a_parser_finds_the_texts_and_no_element_of_theirs(which: str, request: pytest.FixtureRequest) -> None:
    page = Parsed(request.getfixturevalue(which))
    assert page.tags <= TAGS, page.tags - TAGS
    assert {name for name, _ in page.attributes} <= ATTRIBUTES, {name for name, _ in page.attributes} - ATTRIBUTES
    assert all(value.startswith("#") for name, value in page.attributes if name == "xlink:href")
    assert "pwned" not in "".join(value for _, value in page.attributes)
    assert page.scripts == [SCRIPT]
    assert NAME in page.text if which == "report" else all(one in page.text for one in HOSTILE)


def test_every_pair_of_test_stands_there_as_it_is(watched: Watched, report: str) -> None:
    text = Parsed(report).text
    rows = pl.read_parquet(watched.artifact("export") / "predictions.parquet").filter(split="test")
    assert rows.height > 5
    assert all(row["text_a"] in text and row["text_b"] in text for row in rows.to_dicts())


def test_the_policy_lets_nothing_run_or_load(report: str) -> None:
    found = POLICY.search(report)
    assert found
    policy = Parsed(found.group()).attributes
    (content,) = (value for name, value in policy if name == "content")
    rules = dict(rule.strip().split(" ", 1) for rule in content.split(";"))
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"  # that one script and no other


def test_in_a_browser_nothing_runs(report: str, hostile_report: str, tmp_path: Path) -> None:
    """Escaping alone holds, so the policy is taken out; that the browser would run it is shown by a raw page."""
    raw = f"<html><head><title>plain</title></head><body>{HOSTILE[1]}{HOSTILE[0]}</body></html>"
    pages = {"raw": raw, "report": POLICY.sub("", report), "hostile": POLICY.sub("", hostile_report)}
    # The policy holds too: a script that somehow got in does not run.
    pages["policy"] = report.replace("</main>", f"{HOSTILE[0]}{HOSTILE[1]}</main>")
    titles = {name: browser_title(tmp_path / f"{name}.html", html) for name, html in pages.items()}
    assert titles.pop("raw") == "pwned"
    assert all(title.startswith("flipkd report ") for title in titles.values()), titles


def browser_title(path: Path, html: str) -> str:
    """The title of a page once its scripts, if any, have run."""
    command = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if command is None:
        pytest.skip("no browser (chromium or google-chrome) is installed; the parser's tests have run")
    path.write_text(html, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [command, *options, f"--user-data-dir={path.parent / 'profile'}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.search(r"<title>([^<]*)</title>", done.stdout)
    if found is None:
        pytest.skip(f"the browser gave no page: {done.stderr[-300:]}")
    return found.group(1)


def test_what_stages_found_stays_code_on_prefect_s_page(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of it is indented, whatever a stage says of itself."""
    manifests = [read_manifest(watched.artifact(stage)) for stage in ("prepare", "filter")]
    monkeypatch.setattr("flows.publish.sentence", lambda _: "\n".join(HOSTILE))
    page = result_markdown(manifests, Store(watched.folder / "store"))
    told = [line for line in page.splitlines() if "pwned" in line or "javascript" in line]
    assert len(told) >= 2 * len(HOSTILE)
    assert all(line.startswith("    ") for line in told)


def test_an_error_s_text_on_prefect_s_page_stays_code() -> None:
    """A failed run's message may hold a row of the data; each line of it is indented, which makes it code."""
    page = summary_markdown("flip", "Failed", "row 3:\n" + "\n".join(HOSTILE), [])
    told = [line for line in page.splitlines() if "pwned" in line or "javascript" in line]
    assert len(told) >= len(HOSTILE)
    assert all(line.startswith("    ") for line in told)


def test_its_own_script_searches_and_sorts(report: str, tmp_path: Path) -> None:
    """A foreign script, with the policy taken out, searches and sorts as a reader would and says what is left."""
    asked = """
    const list = [...document.querySelectorAll("[data-list]")].pop();
    const [search, order] = [list.querySelector("input"), list.querySelector("select")];
    const shown = () => [...list.querySelectorAll("article:not([hidden]) p:first-child")];
    const texts = () => shown().map((p) => p.textContent);
    const all = texts();
    order.value = "p"; order.dispatchEvent(new Event("change"));
    const before = (a, b) => a.localeCompare(b, undefined, {numeric: true});
    const sorted = JSON.stringify(texts()) === JSON.stringify([...all].sort(before));
    search.value = all[0]; search.dispatchEvent(new Event("input"));
    const words = all[0].toLowerCase().split(/\\s+/);
    const right = texts().length > 0 && texts().length < all.length;
    document.title = `${sorted} ${right} ${list.querySelector("output").textContent} of ${all.length}`;
    """
    page = POLICY.sub("", report).replace("</body>", f"<script>{asked}</script></body>")
    sorts, finds, *counted = browser_title(tmp_path / "asked.html", page).split()
    assert (sorts, finds) == ("true", "true")
    assert counted[2] == counted[4]
    # Under the policy the foreign script does not run.
    assert browser_title(
        tmp_path / "held.html", report.replace("</body>", f"<script>{asked}</script></body>")
    ).startswith("flipkd report ")
