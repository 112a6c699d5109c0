"""The extensions in use are those of the sources as they are now."""

from importlib import import_module
from pathlib import Path

import pytest

from vermilion_build import source_sha256

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("member", ["capture", "fingerprint", "classify"])
def test_extension_is_not_stale(member: str) -> None:
    package = f"vermilion_{member}"
    built = import_module(f"{package}._build").SOURCE_SHA256
    assert built == source_sha256(ROOT / "services" / member / "src" / package), "stale: run make build"
