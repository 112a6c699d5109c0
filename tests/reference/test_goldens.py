"""Every fingerprint that the peers wrote for the same captures, or why there is another.

A difference has a kind; each cites what it rests on. The kinds of all captures together are at
most one in fifty of the fingerprints.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from reference.goldens import (
    CAPTURES,
    MERCURY,
    Told,
    lines,
    mercury,
    needs_reference,
    ours,
    pmercury,
    scanned,
    told,
    undirected,
    with_grease_versions,
    without_grease_bodies,
)

pytestmark = [pytest.mark.reference, needs_reference]

VARIANTS = ["a", "a_n5", "e", "ew", "g", "aewg"]

CUT_EXTENSION = "9.9, RFC 8446 4.2: of an extension that the capture cuts off there is no length to tell"
CUT_LINE = "2.4, RFC 9112 2.2: a line that the capture cuts off is no field line"
NEXT_RECORD = "9.10: what follows a ServerHello without extensions was read as extensions"
AGAIN = "RFC 9000 13.3: a hello whose frames are sent again is one hello"

# What they do not tell of.
SEGMENTS = "they tell nothing of a hello in three segments or more"
SECOND = "RFC 8446 4.1.2: they tell nothing of a second hello, the answer to a HelloRetryRequest"
CUT = "they tell nothing of a hello that the capture cuts off, or otherwise"
CHAIN = "mercury tells nothing of a ServerHello when the Certificate behind it goes on in another segment"
UNDERSCORE = "RFC 9110 9.1, method = token: mercury knows no method with an underscore"
OFFLOAD = "mercury tells nothing of a segment whose IP total length is 0 (the sender's offload)"
ECN = "9.8: a SYN with ECN bits was none"
ECN_HELLO = "likewise: nor was a hello in two segments behind it put together"


def kind_of(theirs: Told, mine: set[str]) -> str | None:
    """The kind of a difference, when what we tell instead is just what the kind explains."""
    if theirs.form == "tls_server" and theirs.text[: theirs.text.index(")(") + 1] + "(003c)()" in mine:
        return NEXT_RECORD
    for text in mine:
        if theirs.form == "tls" and theirs.text.startswith(text[:-1] + "("):
            return CUT_EXTENSION
        if theirs.form.startswith("http") and theirs.text.startswith(text.rstrip(")")):
            return CUT_LINE
    return None


def differences(theirs: Counter[Told], mine: Counter[Told]) -> Counter[str]:
    """Kinds of what is not the same."""
    left: dict[Any, set[str]] = {}
    for each in mine - theirs:
        left.setdefault(each.where, set()).add(each.text)
    kinds: Counter[str] = Counter()
    for each, count in (theirs - mine).items():
        kind = AGAIN if each.form == "quic" and mine[each] else kind_of(each, left.get(each.where, set()))
        assert kind, f"neither told nor explained: {each}"
        kinds[kind] += count
    return kinds


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_fingerprint_of_pmercury(variant: str) -> None:
    kinds: Counter[str] = Counter()
    total = 0
    for capture in CAPTURES:
        theirs: Counter[Told] = Counter()
        for event in pmercury(capture, variant):
            for form, text in event["fingerprints"].items():
                theirs[told(event, form, with_grease_versions(text) if form == "tls" else text)] += 1
        mine = ours(capture)
        if "g" in variant:
            theirs, mine = (Counter(map(undirected, each.elements())) for each in (theirs, mine))
        kinds += differences(theirs, mine)
        total += theirs.total()
    assert kinds == {CUT_LINE: 3, NEXT_RECORD: 1} | ({} if "w" in variant else {CUT_EXTENSION: 1})
    assert total > 430
    assert kinds.total() <= total / 50


def in_mercurys_terms(capture: Path) -> Counter[Told]:
    """What we tell, as far as mercury's strings go."""
    mine: Counter[Told] = Counter()
    for each, count in ours(capture).items():
        text = each.text
        if each.form == "ssh":  # mercury's string leaves the identification string out
            text = text.partition(")")[2]
        elif each.form == "tls":
            text = without_grease_bodies(text)
        mine[each._replace(text=text)] += count
    return mine


def test_every_fingerprint_of_mercury() -> None:
    kinds: Counter[str] = Counter()
    total = 0
    for capture in CAPTURES:
        theirs = Counter(mercury(capture))
        kinds += differences(theirs, in_mercurys_terms(capture))
        total += theirs.total()
    assert kinds == {CUT_LINE: 1, AGAIN: 3}
    assert total > 1260
    assert kinds.total() <= total / 50


def why_only_ours(capture: str, each: Told) -> str:
    """Why the peers do not tell of it; what they do not know of are messages of these flows."""
    found = {
        ("mercury_ch_truncated", "tls"): CUT,
        ("mercury_corner_cases", "http"): CUT,
        ("mercury_corner_cases", "http_server"): CUT,
        ("mercury_corner_cases", "tls_server"): CHAIN,
        ("mercury_geneve", "tls"): ECN_HELLO,
        ("mercury_quic_reordered_frames", "tls"): SECOND,
        ("mercury_ssh_direction_asym", "tcp"): ECN,
        ("mercury_ssh_frag", "tcp"): ECN,
        ("mercury_tlsv1_3", "tls"): OFFLOAD,
        ("suri_ch_frag_mtu300", "tls"): SEGMENTS,
        ("zeek_http_methods", "http"): UNDERSCORE,
        ("zeek_tls13_hrr", "tls"): SECOND,
        ("zeek_tls1_1", "tls_server"): CHAIN,
    }
    return found[capture, each.form.partition("/")[0]]


def test_what_only_we_tell() -> None:
    kinds: Counter[str] = Counter()
    both = {"tls", "tls_server", "ssh"}
    pmercurys = both | {"tls_certificate", "http", "http_server", "tcp"}
    mercurys = both | {"tls/1", "http/npf", "http_server/npf", "tcp/npf", "tcp_server/npf"}
    mercurys |= {"quic", "dtls", "dtls/1", "dtls_server"}
    for capture in CAPTURES:
        theirs: Counter[Told] = Counter(
            told(event, form, with_grease_versions(text) if form == "tls" else text)
            for event in pmercury(capture, "e")
            for form, text in event["fingerprints"].items()
        )
        if theirs:
            only = [each for each in (ours(capture) - theirs).elements() if each.form in pmercurys]
            kinds.update(why_only_ours(capture.stem, each) for each in only)
        theirs = Counter(mercury(capture))
        if theirs:
            only = [
                each for each in (in_mercurys_terms(capture) - theirs).elements() if each.form in mercurys
            ]
            kinds.update(why_only_ours(capture.stem, each) for each in only)
    assert kinds == {
        CUT: 5,
        CHAIN: 6,
        SECOND: 5,
        OFFLOAD: 2,
        SEGMENTS: 2,
        UNDERSCORE: 2,
        ECN: 2,
        ECN_HELLO: 4,
    }


def test_context_and_words() -> None:
    """What pmercury tells beside the fingerprint, wherever it tells the same fingerprint."""
    kinds: Counter[str] = Counter()
    for capture in CAPTURES:
        mine = {told(event, form, text): event for event in scanned(capture)
                for form, text in event["fingerprints"].items()}  # fmt: skip
        for event in pmercury(capture, "ew"):
            ((form, text),) = event["fingerprints"].items()
            event_of_ours = mine.get(told(event, form, with_grease_versions(text) if form == "tls" else text))
            if event_of_ours is None:
                continue
            for name, value in event.get(form, {}).items():
                assert event_of_ours[form][name] == value
                kinds[CONTEXT] += 1
            theirs = event.get("readable", {}).get(form)
            if theirs is not None:
                kinds[words(form, theirs, event_of_ours["readable"][form])] += 1
    assert kinds == {CONTEXT: 122, WORDS: 213, LABELS: 146, NO_NAME: 3, REGISTERED: 1}


CONTEXT, WORDS = "the same context", "the same words"
LABELS = "9.12: a ServerHello's are one digit, HTTP's are shifted and the last is missing"
NO_NAME = "RFC 4251 5: an empty name-list has no name"
REGISTERED = "RFC 7905 names cca8 to ccaa; cc13 to cc15 are those of its drafts, and have another name"


def words(form: str, theirs: Any, ours: Any) -> str:
    """The kind of a difference between two readable forms, when nothing else differs."""
    if form == "tls_server":
        assert theirs["extensions"] == ours["extensions"]
        return LABELS
    if form in ("http", "http_server"):
        assert theirs[3:] == ours[3:-1]
        return LABELS
    if form == "ssh":
        assert {name: [] if value == [""] else value for name, value in theirs.items()} == ours
        return NO_NAME if theirs != ours else WORDS
    if theirs == ours:
        return WORDS
    old = [name.removesuffix("_OLD") for name in ours["cipher_suites"]]
    assert {**ours, "cipher_suites": old} == theirs
    return REGISTERED


def test_names_in_quic() -> None:
    """mercury's, of every quic fingerprint of its."""
    found = 0
    for capture in CAPTURES:
        mine = {
            (event["src_ip"], event["src_port"], event["dst_ip"]): event["quic"].get("server_name")
            for event in scanned(capture)
            if "quic" in event
        }
        for event in lines(MERCURY / f"{capture.name}.jsonl.gz"):
            if event["type"] == "quic":
                assert mine[event["src_ip"], event["src_port"], event["dst_ip"]] == event["server_name"]
                found += 1
    assert found > 60


def test_published_values() -> None:
    """suricata-verify publishes them: tests/ja4-tls/test.yaml, tests/ssh-hassh/test.yaml.

    Those of QUIC and DTLS are what Wireshark 4.0 tells of these captures.
    """

    def forms(name: str) -> dict[str, str]:
        capture = next(path for path in CAPTURES if path.stem == name)
        return {form: text for event in scanned(capture) for form, text in event["fingerprints"].items()}

    assert forms("suri_ja4_tls")["ja4"] == "t12i1810s1_27d4652c4487_06a4338d0495"
    assert forms("zeek_quic_chromium115")["ja3"] == "526bdfecc3fb6cf46540d7ff70e88cec"
    assert forms("zeek_dtls1_2")["ja3"] == "3c3d129780d0066cd8936a6291a8d44f"
    assert forms("zeek_dtls1_2")["ja3s"] == "953c1507994f72697446de4eff6e300b"
    assert forms("suri_ssh_hassh")["hassh"] == "2dd6531c7e89d3c925db9214711be76a"
    assert forms("suri_ssh_hassh")["hassh_server"] == "6832f1ce43d4397c2c0a3e2f8c94334e"
