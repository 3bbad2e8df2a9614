"""Where the checkout lies, whichever folder a test stands in."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "data" / "sample" / "faq.csv"
REAL_DATA = ROOT.parent / "shared" / "data"  # other people's work, beside the project where it is there
