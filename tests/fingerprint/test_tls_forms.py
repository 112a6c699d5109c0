"""The other forms of a ClientHello, each against its specification and against a plain retelling of it."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from fingerprint.hellos import ROOT, extension, hello, recorded, records, u16s, vector
from hypothesis import given
from hypothesis import strategies as st

from vermilion_fingerprint import tls
from vermilion_fingerprint.cursor import Cursor, Malformed
from vermilion_fingerprint.tls import ClientHello
from vermilion_fingerprint.tls_forms import ja3, ja3_string, ja4, ja4_raw, npf1

GREASE = [0x0A0A + 0x1010 * n for n in range(16)]
NPF_KEPT = {1, 5, 7, 8, 9, 10, 11, 13, 15, 16, 17, 24, 27, 28, 43, 45, 50, 0x5500}


def parsed(message: bytes) -> ClientHello:
    return tls.parse(Cursor(records(message)))


def groups(*codes: int) -> bytes:
    return extension(10, vector(u16s(*codes), 2))


def formats(*codes: int) -> bytes:
    return extension(11, vector(bytes(codes), 1))


def algorithms(*codes: int) -> bytes:
    return extension(13, vector(u16s(*codes), 2))


def versions(*codes: int) -> bytes:
    return extension(43, vector(u16s(*codes), 1))


def alpn(*names: bytes) -> bytes:
    return extension(16, vector(b"".join(vector(name, 1) for name in names), 2))


# --- a plain retelling of each, from the lists that the hello gives


def listed(message: ClientHello, kind: int, head: int, size: int) -> list[int]:
    """The numbers of the first such extension's list, as far as they are there."""
    for found, body in message.extensions:
        if found == kind:
            length = int.from_bytes(body[:head], "big") if len(body) >= head else 0
            inside = body[head : head + length]
            return [
                int.from_bytes(inside[i : i + size], "big") for i in range(0, len(inside) - size + 1, size)
            ]
    return []


def plain(codes: list[int]) -> list[int]:
    return [code for code in codes if code not in GREASE]


def folded(raw: bytes, head: int) -> str:
    body = raw[head:]
    pairs = [body[i : i + 2] for i in range(0, len(body), 2)]
    return raw[:head].hex() + "".join("0a0a" if p.hex() in GREASE_HEX else p.hex() for p in pairs)


GREASE_HEX = {f"{code:04x}" for code in GREASE}


def told_npf1(message: ClientHello) -> str:
    suites = "".join("0a0a" if code in GREASE else f"{code:04x}" for code in message.cipher_suites)
    keyed = [
        (0x0A0A if kind & 0x0F0F == 0x0A0A else kind, len(body), body) for kind, body in message.extensions
    ]
    out = ""
    for kind, length, body in sorted(keyed):
        head = {10: 2, 43: 1}.get(kind)
        text = body.hex() if head is None or length < head else folded(body, head)
        out += f"({kind:04x}{length:04x}{text})" if kind in NPF_KEPT else f"({kind:04x})"
    return f"tls/1/({message.version:04x})({suites})[{out}]"


def told_ja3(message: ClientHello) -> str:
    lists = [
        plain(message.cipher_suites),
        plain([kind for kind, _ in message.extensions]),
        plain(listed(message, 10, 2, 2)),
        listed(message, 11, 1, 1),
    ]
    return ",".join([str(message.version), *("-".join(map(str, each)) for each in lists)])


def told_ja4(message: ClientHello) -> str:
    kinds = plain([kind for kind, _ in message.extensions])
    suites = plain(message.cipher_suites)
    number = max(plain(listed(message, 43, 1, 2)), default=message.version)
    names = {0x304: "13", 0x303: "12", 0x302: "11", 0x301: "10", 0x300: "s3", 2: "s2"}
    names |= {0xFEFF: "d1", 0xFEFD: "d2", 0xFEFC: "d3"}
    protocols = bytes(listed(message, 16, 2, 1))
    first = protocols[1 : 1 + protocols[0]] if protocols else b""
    ends = "00"
    if first:
        alphanumeric = first[:1].isalnum() and first[-1:].isalnum()
        text = first.decode("latin-1") if alphanumeric else first.hex()
        ends = text[0] + text[-1]
    head = f"t{names.get(number, '00')}{'d' if 0 in kinds else 'i'}"
    head += f"{min(len(suites), 99):02}{min(len(kinds), 99):02}{ends}"
    signatures = plain(listed(message, 13, 2, 2))
    last = ",".join(f"{kind:04x}" for kind in sorted(kinds) if kind not in {0, 16})
    if signatures:
        last += "_" + ",".join(f"{code:04x}" for code in signatures)
    parts = [",".join(f"{code:04x}" for code in sorted(suites)), last]
    hashes = [hashlib.sha256(part.encode()).hexdigest()[:12] if part else "0" * 12 for part in parts]
    return "_".join([head, *hashes])


def check(message: ClientHello) -> None:
    assert npf1(message) == told_npf1(message)
    assert ja3_string(message) == told_ja3(message)
    assert ja3(message) == hashlib.md5(told_ja3(message).encode()).hexdigest()  # noqa: S324
    assert ja4(message) == told_ja4(message)
    told = message.readable()
    assert len(told["cipher_suites"]) == len(message.cipher_suites)
    assert [len(each) for each in told["extensions"]] == [1] * len(message.extensions)


def test_every_recorded_hello() -> None:
    for stream in recorded():
        check(tls.parse(Cursor(stream)))


def test_every_truncation_of_a_recorded_hello() -> None:
    for stream in recorded()[:6]:
        for end in range(len(stream)):
            try:
                message = tls.parse(Cursor(stream[:end]), True)
            except Malformed:
                continue
            check(message)


LISTS = st.lists(st.sampled_from([*GREASE[:3], 0x0A1A, 29, 0x0304, 0x0303, 0x7F1C, 0x0403]), max_size=5)
BODIES = st.one_of(
    st.binary(max_size=8),
    LISTS.map(lambda codes: vector(u16s(*codes), 2)),
    LISTS.map(lambda codes: vector(u16s(*codes), 1)),
    st.lists(st.binary(max_size=4), max_size=3).map(lambda n: vector(b"".join(vector(x, 1) for x in n), 2)),
)
# Transport parameters have a test of their own.
KINDS = st.one_of(
    st.sampled_from([0, 5, 10, 11, 13, 16, 43, 45, 19, 0x0A0A, 0x1A1A, 0x0A1A]), st.integers(0, 65535)
)


@given(
    st.lists(st.integers(0, 65535), min_size=1, max_size=120),
    st.lists(st.tuples(KINDS.filter(lambda kind: kind not in {57, 0xFFA5}), BODIES), max_size=120),
    st.integers(0x0300, 0x03FF),
)
def test_any_hello(suites: list[int], extensions: list[tuple[int, bytes]], version: int) -> None:
    message = parsed(hello(u16s(*suites), b"".join(extension(*each) for each in extensions), version))
    assert len(message.extensions) == len(extensions)
    check(message)


@pytest.mark.parametrize("value", GREASE)
def test_every_grease_value_in_every_list(value: int) -> None:
    with_it = (
        extension(value, b"\0") + groups(value, 29) + formats(0) + algorithms(value, 0x0403)
        + versions(value, 0x0303)
    )  # fmt: skip
    message = parsed(hello(u16s(value, 0x1301, value), with_it, version=0x0301))
    assert npf1(message) == (
        "tls/1/(0301)(0a0a13010a0a)[(000a000600040a0a001d)(000b00020100)"
        f"(000d00060004{value:04x}0403)(002b0005040a0a0303)(0a0a)]"
    )
    assert ja3_string(message) == "769,4865,10-11-13-43,29,0"
    assert ja4_raw(message) == "t12i010400_1301_000a,000b,000d,002b_0403"
    told = message.readable()
    assert told["cipher_suites"] == ["GREASE", "TLS_AES_128_GCM_SHA256", "GREASE"]
    assert told["extensions"][0] == {"GREASE": "00"}
    assert told["extensions"][1]["supported_groups"]["supported_groups"] == ["GREASE", "x25519"]
    assert told["extensions"][3]["signature_algorithms"]["algorithms"] == ["GREASE", "ecdsa_sha256"]
    assert told["extensions"][4]["supported_versions"]["supported_versions"] == ["GREASE", "TLS 1.2"]


def test_npf1_folds_256_extension_types_and_sixteen_of_all_else() -> None:
    message = parsed(
        hello(u16s(0x0A1A), extension(0x0A1A, b"\1") + extension(0xFA0A) + groups(0x0A1A) + extension(65535))
    )
    assert npf1(message) == "tls/1/(0303)(0a1a)[(000a000400020a1a)(0a0a)(0a0a)(ffff)]"
    assert ja3_string(message) == "771,2586,2586-64010-10-65535,2586,"


def test_npf1_sorts_by_type_then_length_then_bytes() -> None:
    same = [extension(16, body) for body in (b"\2\1", b"\1\2", b"\xff", b"", b"\1\2")]
    message = parsed(hello(extensions=extension(0xFF01) + b"".join(same) + extension(0, b"\0")))
    assert npf1(message) == (
        "tls/1/(0303)(c02f)[(0000)(00100000)(00100001ff)(001000020102)(001000020102)(001000020201)(ff01)]"
    )


def test_npf1_keeps_no_certificate_types_as_pmercurys_string_does() -> None:
    message = parsed(hello(extensions=extension(19, b"\1\0") + extension(20, b"\1\0")))
    assert tls.fingerprint(message) == "(0303)(c02f)((001300020100)(001400020100))"
    assert npf1(message) == "tls/1/(0303)(c02f)[(0013)(0014)]"


@pytest.mark.parametrize("kind", [57, 0xFFA5])
def test_npf1_of_quic_transport_parameters(kind: int) -> None:
    """RFC 9000 18: ids as they are encoded, sorted by number, reserved ones as 1b, values dropped."""
    ids = ("80ff73db", "20", "01", "0f", "03", "7127", "4059", "80004752")
    body = b"".join(bytes.fromhex(each) + b"\2ab" for each in ids)
    told = "[(01)(03)(0f)(1b)(20)(7127)(80004752)(80ff73db)]"
    for more in (b"", b"\4", b"\4\5abcd", b"\xff" * 9):  # what is cut off is not told
        message = parsed(hello(extensions=extension(kind, body + more)))
        assert npf1(message, "quic/(00000001)") == f"quic/(00000001)(0303)(c02f)[(({kind:04x}){told})]"
    assert npf1(parsed(hello(extensions=extension(kind)))) == f"tls/1/(0303)(c02f)[(({kind:04x})[])]"


@pytest.mark.parametrize("extensions", [None, b""])
def test_no_extensions(extensions: bytes | None) -> None:
    message = parsed(hello(extensions=extensions))
    assert npf1(message) == "tls/1/(0303)(c02f)[]"
    assert ja3_string(message) == "771,49199,,,"
    assert ja4(message) == f"t12i010000_{hashlib.sha256(b'c02f').hexdigest()[:12]}_000000000000"
    assert ja4_raw(message) == "t12i010000_c02f_"
    assert message.readable()["extensions"] == []


def test_ja3_as_published() -> None:
    suites = u16s(47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4)
    message = parsed(hello(suites, extension(0) + groups(23, 24, 25) + formats(0), version=0x0301))
    assert ja3_string(message) == "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0"
    assert ja3(message) == "ada70206e40642a3e4461f35503241d5"
    message = parsed(hello(u16s(4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99), None, version=0x0301))
    assert ja3_string(message) == "769,4-5-10-9-100-98-3-6-19-18-99,,,"
    assert ja3(message) == "de350869b8c85de67a350c8d186f11e6"


CHROME_SUITES = u16s(
    0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C, 0x009D,
    0x002F, 0x0035,
)  # fmt: skip
CHROME_KINDS = (
    0x001B, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002D, 0x000D, 0x0005, 0x0023, 0x0012, 0x002B, 0xFF01,
    0x000B, 0x000A, 0x0015,
)  # fmt: skip
CHROME_ALGORITHMS = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)


def chrome(signatures: tuple[int, ...], kinds: tuple[int, ...] = CHROME_KINDS) -> ClientHello:
    """The hello of JA4's technical details, as far as they tell it."""
    told = {13: algorithms(*signatures), 16: alpn(b"h2", b"http/1.1"), 43: versions(0x2A2A, 0x0304, 0x0303)}
    extensions = b"".join(told.get(kind, extension(kind)) for kind in kinds)
    return parsed(
        hello(u16s(0x3A3A) + CHROME_SUITES, extension(0x4A4A) + extensions + extension(0x5A5A, b"\0"))
    )


def test_ja4_as_published() -> None:
    """The technical details' two worked examples, and a value that others published for a later Chrome."""
    assert ja4(chrome(CHROME_ALGORITHMS)) == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    assert ja4_raw(chrome(CHROME_ALGORITHMS)) == (
        "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9_"
        "0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01_"
        "0403,0804,0401,0503,0805,0501,0806,0601"
    )
    assert ja4(chrome(())) == "t13d1516h2_8daaf6152771_6d807ffa2a79"
    assert ja4(chrome((0x6A6A,))) == "t13d1516h2_8daaf6152771_6d807ffa2a79"
    later = tuple({0x4469: 0x44CD, 0x0015: 0xFE0D}.get(kind, kind) for kind in CHROME_KINDS)
    assert ja4(chrome(CHROME_ALGORITHMS, later)) == "t13d1516h2_8daaf6152771_d8a2da3f94cd"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([b"h2"], "h2"), ([b"http/1.1", b"h2"], "h1"), ([b"x"], "xx"), ([b""], "00"), ([], "00"),
        ([b"\xab"], "ab"), ([b"\xab\xcd"], "ad"), ([b"0\xab"], "3b"), ([b"01\xab\xcd"], "3d"),
        ([b"0\xab\xcd1"], "01"), ([b"\x2a\x2a"], "2a"), (["ä".encode()], "c4"), ([b" h2"], "22"),
        ([b"Zz"], "Zz"), ([b"_"], "5f"),
    ],
)  # fmt: skip
def test_ja4_alpn(names: list[bytes], told: str) -> None:
    assert ja4(parsed(hello(extensions=alpn(*names))))[8:10] == told


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\0", b"\0\3", b"\0\1\0", b"\0\5\0"])
def test_ja4_alpn_without_a_name(body: bytes) -> None:
    assert ja4(parsed(hello(extensions=extension(16, body)))).startswith("t12i010100_")


def test_ja4_server_name_counts_are_capped_and_nothing_left_to_hash() -> None:
    message = parsed(hello(u16s(*GREASE, *range(1, 151)), extension(0) + extension(16)))
    assert ja4(message).startswith("t12d990200_")
    assert ja4(message).endswith("_000000000000")
    many = b"".join(extension(0x8000 + n) for n in range(120))
    assert ja4(parsed(hello(u16s(0x0A0A), many))).startswith("t12i009900_000000000000_")


@pytest.mark.parametrize(
    ("legacy", "body", "told"),
    [
        (0x0303, None, "12"), (0x0302, None, "11"), (0x0301, None, "10"), (0x0300, None, "s3"),
        (0x0305, None, "00"),
        (0x0303, vector(u16s(0x0303, 0x0304, 0x0302), 1), "13"), (0x0303, vector(u16s(0x0301), 1), "10"),
        (0x0303, vector(u16s(0xFAFA, 0x0304), 1), "13"), (0x0303, vector(u16s(0x7F1C, 0x0303), 1), "00"),
        (0x0303, vector(u16s(0xFEFD), 1), "d2"), (0x0303, vector(u16s(0xFEFC), 1), "d3"),
        (0x0303, vector(u16s(0xFEFF), 1), "d1"), (0x0303, vector(u16s(0x0002), 1), "s2"),
        (0x0302, b"", "11"), (0x0302, b"\0", "11"), (0x0302, vector(u16s(0x0A0A), 1), "11"),
        (0x0302, b"\x09\x03\x04\x03", "13"),
    ],
)  # fmt: skip
def test_ja4_version(legacy: int, body: bytes | None, told: str) -> None:
    message = parsed(hello(extensions=None if body is None else extension(43, body), version=legacy))
    assert ja4(message)[1:3] == told


def test_ja4_transport() -> None:
    message = chrome(CHROME_ALGORITHMS)
    assert [ja4(message, each)[:3] for each in "tqd"] == ["t13", "q13", "d13"]
    with pytest.raises(ValueError, match="transport"):
        ja4(message, "x")


def test_readable_decodes_what_the_fingerprint_has_and_nothing_else() -> None:
    extensions = (
        extension(0, vector(b"\0" + vector(b"a.example", 2), 2)) + alpn(b"h2", b"\xff") + formats(0, 7)
        + extension(5, b"\1\0\0\0\0") + extension(45, vector(b"\1\0\7", 1)) + groups(0x11EC, 0xBEEF)
        + algorithms(0x0804, 0x0807, 0xBEEF) + versions(0x0304, 0xBEEF) + extension(28, b"\x40\1")
        + extension(0xBEEF, b"x") + extension(45, vector(b"\1", 1)) + extension(5) + extension(51, b"key")
    )  # fmt: skip
    assert parsed(hello(u16s(0x1301, 0xBEEF, 0xC060), extensions)).readable() == {
        "version": "TLS 1.2",
        "cipher_suites": ["TLS_AES_128_GCM_SHA256", "beef", "TLS_ECDHE_RSA_WITH_ARIA_128_GCM_SHA256"],
        "extensions": [
            {"server_name": ""},
            {"application_layer_protocol_negotiation": ["h2", "\\xff"]},
            {"ec_point_formats": {"ec_point_formats_length": 2, "ec_point_formats": ["uncompressed", "07"]}},
            {
                "status_request": {
                    "certificate_status_type": "ocsp",
                    "responder_id_list_length": 0,
                    "request_extensions_length": 0,
                }
            },
            {
                "psk_key_exchange_modes": {
                    "psk_key_exchange_modes_length": 3,
                    "psk_key_exchange_mode": "psk_dhe_ke",
                    "psk_key_exchange_modes": ["psk_dhe_ke", "psk_ke", "07"],
                }
            },
            {
                "supported_groups": {
                    "supported_groups_list_length": 4,
                    "supported_groups": ["X25519MLKEM768", "Unknown Group (beef)"],
                }
            },
            {
                "signature_algorithms": {
                    "signature_hash_algorithms_length": 6,
                    "algorithms": ["rsa_pss_sha256", "ed25519", "unknown(beef)"],
                }
            },
            {
                "supported_versions": {
                    "supported_versions_list_length": 4,
                    "supported_versions": ["TLS 1.3", "Unknown Version (beef)"],
                }
            },
            {"record_size_limit": "4001"},
            {"beef": ""},
            {
                "psk_key_exchange_modes": {
                    "psk_key_exchange_modes_length": 1,
                    "psk_key_exchange_mode": "psk_dhe_ke",
                }
            },
            {"status_request": ""},
            {"key_share": ""},
        ],
    }
    assert parsed(hello(version=0x03AA)).readable()["version"] == "03aa"


@pytest.mark.parametrize("kind", [5, 10, 11, 13, 16, 43, 45])
@pytest.mark.parametrize("body", [b"\1", b"\0\x20\1", b"\xff\xff", b"\0\1\0\0", b"\0\3\2h2\0", b"\0\2\2h2"])
def test_a_body_that_is_not_what_its_rfc_says_is_shown_as_hex(kind: int, body: bytes) -> None:
    told = parsed(hello(extensions=extension(kind, body))).readable()["extensions"][0]
    assert list(told.values()) == [body.hex()]


HOSTILE = {
    "suites": hello(u16s(*range(0x7F00))[: 0xFE00 - 2]),
    "empty extensions": hello(extensions=u16s(16, 0) * 16_000),
    "descending extensions": hello(extensions=b"".join(extension(n) for n in range(16_000, 0, -1))),
    "equal extensions": hello(extensions=extension(16, bytes(4)) * 8_000),
    "transport parameters": hello(extensions=extension(57, b"\1\0" * 32_000)),
    "many transport parameters": hello(extensions=extension(57, b"\1\0" * 4) * 5_000),
    "groups": hello(extensions=groups(*range(32_000))),
    "algorithms": hello(extensions=algorithms(*range(32_000))),
    "formats": hello(extensions=extension(11, b"\xff" * 64_000)),
    "protocols": hello(extensions=extension(16, vector(b"\0" * 64_000, 2))),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("form", [npf1, ja3, ja4])
def test_a_hostile_hello_costs_at_most_5_ms(name: str, form: Callable[[ClientHello], str]) -> None:
    message = parsed(HOSTILE[name])
    costs = []
    for _ in range(5):
        start = time.thread_time()
        text = form(message)
        costs.append(time.thread_time() - start)
    assert min(costs) < 0.005
    assert len(text) < 4 * 65_536


def test_the_names_are_what_the_generator_writes() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools/generate_tls_names.py", "--check"], check=False)
    assert done.returncode == 0
