"""No token or environment value reaches a manifest, a log or a report."""

from __future__ import annotations

from tests.safety.conftest import Watched


def test_no_value_of_the_environment_is_in_any_file_or_line(watched: Watched) -> None:
    """The store, Prefect's database and result records, the hub's cache, and what was printed under --debug."""
    values = [value.encode() for value in watched.secrets.values()]
    kept = [path for name in ("store", "prefect", "hub") for path in (watched.folder / name).rglob("*")]
    files = [path for path in kept if path.is_file()]
    names = {path.name for path in files}
    assert {"manifest.json", "report.html", "prefect-result.json", "prefect.db", "metrics.json"} <= names
    for path in files:
        content = path.read_bytes()
        assert not any(value in content for value in values), path
    assert not any(value in watched.printed for value in watched.secrets.values())


def test_nothing_is_written_where_the_config_does_not_say(watched: Watched) -> None:
    """`store` of the config wins over $FLIPKD_HOME, and an input's name with `../` is a name."""
    assert {path.name for path in watched.folder.iterdir()} <= {
        *("store", "prefect", "hub", "watch", "trace"),
        *("config.yaml", "pairs.csv", "teacher", "student"),
    }


def test_the_terminal_gets_no_control_characters(watched: Watched) -> None:
    assert "pwned" in watched.printed, "some of the hostile texts are among the examples"
    assert "\x1b" not in watched.printed
    assert not set(watched.printed) & {chr(code) for code in (*range(9), 11, 12, *range(14, 27))}
