"""``make fuzz``: a build with sanitizers, a corpus from our own captures, every target for some time.

The extensions are compiled a second time, by clang with AddressSanitizer and with the counters that
guide the fuzzer, into .cache/fuzz; the usual build stays as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".cache/fuzz"
MEMBERS = ("services/capture", "services/fingerprint", "services/classify")
SANITIZERS = "-fsanitize=address,fuzzer-no-link"
AT_ONCE = 2
GRACE_SECONDS = 120


def build() -> None:
    """Compile the extensions with sanitizers."""
    if shutil.which("clang") is None:
        sys.exit("no clang: apt-get install clang")
    for member in MEMBERS:
        copy = FOLDER / member
        built = shutil.ignore_patterns("build", "*.so", "*.egg-info")
        shutil.copytree(ROOT / member, copy, dirs_exist_ok=True, ignore=built)
        command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        environment = {"CC": "clang", "LDSHARED": "clang -shared", "CFLAGS": SANITIZERS}
        subprocess.run(command, cwd=copy, check=True, env={**os.environ, **environment})


def corpus(name: str) -> Path:
    """The folder of a target's inputs, the seeds among them."""
    folder = FOLDER / "corpus" / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in TARGETS[name].seeds():
        (folder / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    return folder


def fuzz(name: str, seconds: int) -> tuple[str, str, bool]:
    """Fuzz one target; its name, what is told of it, and whether nothing was found."""
    import atheris

    findings = FOLDER / "findings" / name
    findings.mkdir(parents=True, exist_ok=True)
    paths = [ROOT / "tests", *(FOLDER / member / "src" for member in MEMBERS)]
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "LD_PRELOAD": str(Path(atheris.path()) / "asan_with_fuzzer.so"),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
    }
    command = [
        sys.executable, str(ROOT / "tests/fuzz/one.py"), name, str(corpus(name)),
        f"-max_total_time={seconds}", f"-artifact_prefix={findings}/", "-timeout=10",
        "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1",
    ]  # fmt: skip
    log = FOLDER / f"{name}.log"
    with log.open("wb") as out:
        done = subprocess.run(
            command, stdout=out, stderr=out, check=False, timeout=seconds + GRACE_SECONDS,
            env={**os.environ, **environment},
        )  # fmt: skip
    text = log.read_text(errors="replace")
    runs = re.findall(r"number_of_executed_units: (\d+)", text)
    coverage = re.findall(r"cov: (\d+)", text)
    if done.returncode or not runs or not coverage:
        return name, f"exit code {done.returncode}; see {log}, and the input in {findings}", False
    return name, f"{runs[0]} runs, coverage {coverage[0]} -> {coverage[-1]}", True


def main() -> None:
    """Fuzz the targets named, or all; for FUZZ_SECONDS each, 60 unless told."""
    names = sys.argv[1:] or list(TARGETS)
    if unknown := set(names) - TARGETS.keys():
        sys.exit(f"no such target: {', '.join(sorted(unknown))}; there are: {', '.join(TARGETS)}")
    seconds = int(os.environ.get("FUZZ_SECONDS", "60"))
    build()
    failed = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, told, good in pool.map(lambda each: fuzz(each, seconds), names):
            sys.stdout.write(f"{'ok     ' if good else 'FINDING'} {name:<16} {told}\n")
            sys.stdout.flush()
            failed += not good
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
