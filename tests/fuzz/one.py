"""Fuzzes one target under atheris: ``one.py TARGET CORPUS [libFuzzer's options]``."""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["vermilion_fingerprint", "vermilion_capture", "vermilion_pipeline"]):
    from fuzz.targets import TARGETS

    from vermilion_capture import packet
    from vermilion_fingerprint import flows

INSTRUMENTED = Path(__file__).parents[2] / ".cache/fuzz"

if __name__ == "__main__":
    for module in (packet, flows):
        if not Path(module.__file__ or "").is_relative_to(INSTRUMENTED):
            sys.exit(f"{module.__name__} is {module.__file__}, not the build of {INSTRUMENTED}")
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.run)
    atheris.Fuzz()
