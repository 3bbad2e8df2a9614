"""What an artifact holds, in one sentence, out of the summary in its manifest."""

from __future__ import annotations

from typing import Any

from pipeline.store.store import Manifest

Summary = dict[str, Any]


def sentence(manifest: Manifest) -> str:
    """One line for a person: the numbers that tell whether a stage went well."""
    return SENTENCES[manifest.stage](manifest.summary)


def _prepare(summary: Summary) -> str:
    splits = ", ".join(f"{split} {counts['pairs']}" for split, counts in summary["splits"].items())
    return f"pairs: {splits}; {summary['rows']['rejected']} of {summary['rows']['read']} rows rejected"


def _teach(summary: Summary) -> str:
    before, after = (summary.get(name) for name in ("dev_untouched", "dev_tuned"))
    told = [f"{name} {found['auroc']:.3f}" for name, found in (("untouched", before), ("tuned", after)) if found]
    kept = f"; the {summary['kept']} teacher is kept" if after else ""
    if combined := summary.get("dev_combined"):
        kept += f"; {1 + len(summary['others'])} teachers combined {combined['auroc']:.3f}"
    return f"dev AUROC {', '.join(told)}{kept}" if told else "taken as it is"


def _score(summary: Summary) -> str:
    found = (summary.get("auroc") or {}).items()
    measured = ", ".join(f"{split} {value:.3f}" for split, value in found if value is not None)
    return f"{summary['pairs']} pairs of {summary['texts']} texts" + (f"; AUROC {measured}" if measured else "")


def _filter(summary: Summary) -> str:
    kept = ", ".join(f"{count} {name}" for name, count in summary["train_kept"].items())
    bounds = ", ".join(f"{name} {found['bound']:.3f}" for name, found in summary["bounds"].items())
    return f"train keeps {kept}; {bounds}" if summary["enabled"] else f"train keeps {kept}; bounds not applied"


def _distill(summary: Summary) -> str:
    return (
        f"{summary['objective']}, best of {summary['steps']} steps: {summary['best_step']}; dev AUROC "
        f"decoder {summary['dev_decoder_auroc']:.3f}, encoder {summary['dev_encoder_auroc']:.3f}"
    )


def _export(summary: Summary) -> str:
    found = ((name, metrics.get("auroc")) for name, metrics in summary["metrics"].items())
    return f"{summary['split']} AUROC " + ", ".join(
        f"{name} {value:.3f}" for name, value in found if value is not None
    )


def _measure(summary: Summary) -> str:
    return "test AUROC " + ", ".join(
        f"{name} {found['auroc']:.3f}" for name, found in summary["test"].items() if "auroc" in found
    )


def _retrieve(summary: Summary) -> str:
    found = ", ".join(f"{name} {metrics['ndcg@10']:.3f}" for name, metrics in summary["metrics"].items())
    return f"{summary['queries']} questions to {summary['entries']} FAQ entries, nDCG@10: {found}"


def _attribution(summary: Summary) -> str:
    def told(best: Summary) -> str:
        return f"{best['auroc']:.3f} (layer {best['layer']}, {best['module']})"

    inputs, adapter = summary["best_input"], summary["best_adapter"]
    return f"best dev AUROC of one site: A's output {told(adapter)}, its plain input {told(inputs)}"


SENTENCES = {
    "prepare": _prepare,
    "teach": _teach,
    "score": _score,
    "filter": _filter,
    "distill": _distill,
    "export": _export,
    "measure": _measure,
    "retrieve": _retrieve,
    "attribution": _attribution,
}
