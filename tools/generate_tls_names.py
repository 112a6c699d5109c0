"""Writes vermilion_fingerprint/tls_names.py: TLS code points and their names.

    python tools/generate_tls_names.py            # write the module
    python tools/generate_tls_names.py --check    # exit 1 when the module is not what it would write

The names are IANA's (TLS Parameters, TLS ExtensionType Values), as scapy's tables have them; the
product itself does not import scapy. What those tables lack, or call otherwise, is stated below
with the RFC that registers it.
"""

import argparse
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from scapy.layers.tls.crypto.groups import _tls_named_groups
from scapy.layers.tls.crypto.suites import _tls_cipher_suites
from scapy.layers.tls.extensions import _cert_status_type, _tls_ecpoint_format, _tls_ext, _tls_psk_kx_modes
from scapy.layers.tls.keyexchange import _tls_hash_sig

MODULE = Path(__file__).parent.parent / "services/fingerprint/src/vermilion_fingerprint/tls_names.py"

GREASE = {0x0A0A + 0x1010 * n: "GREASE" for n in range(16)}  # RFC 8701


def aria() -> dict[int, str]:
    """RFC 6209: a suite of 128 bits and one of 256, one key exchange after another."""
    ecdh = ["ECDHE_ECDSA", "ECDH_ECDSA", "ECDHE_RSA", "ECDH_RSA"]
    cbc = ["RSA", "DH_DSS", "DH_RSA", "DHE_DSS", "DHE_RSA", "DH_anon", *ecdh]
    gcm = ["RSA", "DHE_RSA", "DH_RSA", "DHE_DSS", "DH_DSS", "DH_anon", *ecdh]
    psk = ["PSK", "DHE_PSK", "RSA_PSK"]
    order = [("CBC", name) for name in cbc] + [("GCM", name) for name in gcm]
    order += [("CBC", name) for name in psk] + [("GCM", name) for name in psk] + [("CBC", "ECDHE_PSK")]
    suites = {}
    for number, (mode, exchange) in enumerate(order):
        suites[0xC03C + 2 * number] = f"TLS_{exchange}_WITH_ARIA_128_{mode}_SHA256"
        suites[0xC03D + 2 * number] = f"TLS_{exchange}_WITH_ARIA_256_{mode}_SHA384"
    return suites


MORE_SUITES = {
    # RFC 8998
    0x00C6: "TLS_SM4_GCM_SM3", 0x00C7: "TLS_SM4_CCM_SM3",
    # RFC 9150
    0xC0B4: "TLS_SHA256_SHA256", 0xC0B5: "TLS_SHA384_SHA384",
    # RFC 8492
    0xC0B0: "TLS_ECCPWD_WITH_AES_128_GCM_SHA256", 0xC0B1: "TLS_ECCPWD_WITH_AES_256_GCM_SHA384",
    0xC0B2: "TLS_ECCPWD_WITH_AES_128_CCM_SHA256", 0xC0B3: "TLS_ECCPWD_WITH_AES_256_CCM_SHA384",
    # RFC 9189, RFC 9367
    0xC100: "TLS_GOSTR341112_256_WITH_KUZNYECHIK_CTR_OMAC",
    0xC101: "TLS_GOSTR341112_256_WITH_MAGMA_CTR_OMAC", 0xC102: "TLS_GOSTR341112_256_WITH_28147_CNT_IMIT",
    0xC103: "TLS_GOSTR341112_256_WITH_KUZNYECHIK_MGM_L", 0xC104: "TLS_GOSTR341112_256_WITH_MAGMA_MGM_L",
    0xC105: "TLS_GOSTR341112_256_WITH_KUZNYECHIK_MGM_S", 0xC106: "TLS_GOSTR341112_256_WITH_MAGMA_MGM_S",
    # RFC 8442
    0xD001: "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256", 0xD002: "TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384",
    0xD003: "TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256", 0xD005: "TLS_ECDHE_PSK_WITH_AES_128_CCM_SHA256",
}  # fmt: skip

EXTENSIONS = {
    16: "application_layer_protocol_negotiation",  # RFC 7301
    42: "early_data",  # RFC 8446
    12: "srp", 14: "use_srtp", 17: "status_request_v2",  # RFC 5054, 5764, 6961
    24: "token_binding", 25: "cached_info", 26: "tls_lts",  # RFC 8472, 7924
    27: "compress_certificate", 29: "pwd_protect", 30: "pwd_clear", 31: "password_salt",  # RFC 8879, 8492
    32: "ticket_pinning", 33: "tls_cert_with_extern_psk", 34: "delegated_credential",  # RFC 8672, 8773, 9345
    36: "TLMSP", 37: "TLMSP_proxying", 38: "TLMSP_delegate", 39: "supported_ekt_ciphers",  # RFC 8870
    52: "transparency_info", 53: "connection_id_deprecated", 54: "connection_id",  # RFC 9162, 9146
    55: "external_id_hash", 56: "external_session_id", 58: "ticket_request",  # RFC 8844, 9149
    59: "dnssec_chain", 60: "sequence_number_encryption_algorithms", 61: "rrc", 62: "tls_flags",  # RFC 9102
    64768: "ech_outer_extensions", 65037: "encrypted_client_hello",  # draft-ietf-tls-esni
    # Not registered by IANA; Chromium's.
    17513: "application_settings_old", 17613: "application_settings", 30032: "channel_id",
    30031: "channel_id_old",
}  # fmt: skip

GROUPS = {
    # RFC 9189
    34: "GC256A", 35: "GC256B", 36: "GC256C", 37: "GC256D", 38: "GC512A", 39: "GC512B", 40: "GC512C",
    31: "brainpoolP256r1tls13", 32: "brainpoolP384r1tls13", 33: "brainpoolP512r1tls13",  # RFC 8734
    41: "curveSM2",  # RFC 8998
    512: "MLKEM512", 513: "MLKEM768", 514: "MLKEM1024",  # draft-ietf-tls-mlkem
    # draft-ietf-tls-ecdhe-mlkem
    4587: "SecP256r1MLKEM768", 4588: "X25519MLKEM768", 4589: "SecP384r1MLKEM1024",
    25498: "SecP256r1Kyber768Draft00",
}  # fmt: skip

# RFC 8446 4.2.3 and what came after. The rest is RFC 5246's two bytes, signature before hash.
SCHEMES = {
    0x0708: "sm2sig_sm3", 0x0709: "gostr34102012_256a", 0x070A: "gostr34102012_256b",
    0x070B: "gostr34102012_256c", 0x070C: "gostr34102012_256d", 0x070D: "gostr34102012_512a",
    0x070E: "gostr34102012_512b", 0x070F: "gostr34102012_512c",
    0x0804: "rsa_pss_sha256", 0x0805: "rsa_pss_sha384", 0x0806: "rsa_pss_sha512",
    0x0807: "ed25519", 0x0808: "ed448",
    0x0809: "rsa_pss_pss_sha256", 0x080A: "rsa_pss_pss_sha384", 0x080B: "rsa_pss_pss_sha512",
    0x081A: "ecdsa_brainpoolP256r1tls13_sha256", 0x081B: "ecdsa_brainpoolP384r1tls13_sha384",
    0x081C: "ecdsa_brainpoolP512r1tls13_sha512",
    0x0904: "mldsa44", 0x0905: "mldsa65", 0x0906: "mldsa87",
    # Private use by GOST's first implementations.
    0xEDED: "gostr34102001_gostr3411", 0xEEEE: "gostr34102012_256_gostr34112012_256",
    0xEFEF: "gostr34102012_512_gostr34112012_512",
}  # fmt: skip

VERSIONS = {
    0x0002: "SSL 2.0", 0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2",
    0x0304: "TLS 1.3", 0xFEFF: "DTLS 1.0", 0xFEFD: "DTLS 1.2", 0xFEFC: "DTLS 1.3",
    **{0x7F00 + draft: f"TLS 1.3 (draft {draft})" for draft in range(14, 29)},
}  # fmt: skip


def schemes() -> dict[int, str]:
    """RFC 5246 7.4.1.4.1: HashAlgorithm, then SignatureAlgorithm, as signature_hash."""
    pairs = ((code, name.split("+")) for code, name in _tls_hash_sig.items() if "+" in name)
    return {code: "_".join(reversed(pair)) for code, pair in pairs}


TABLES: tuple[tuple[str, str, Mapping[int, str]], ...] = (
    (
        "CIPHER_SUITES",
        "TLS Cipher Suites.",
        {code: name for code, name in _tls_cipher_suites.items() if code <= 0xFFFF}
        | aria() | MORE_SUITES | GREASE,
    ),
    ("EXTENSIONS", "TLS ExtensionType Values.", _tls_ext | EXTENSIONS | GREASE),
    ("GROUPS", "TLS Supported Groups.", _tls_named_groups | GROUPS | GREASE),
    ("SIGNATURE_SCHEMES", "TLS SignatureScheme; RFC 5246's pairs as signature_hash.",
     schemes() | SCHEMES | GREASE),
    ("POINT_FORMATS", "TLS EC Point Formats.", _tls_ecpoint_format),
    ("PSK_MODES", "TLS PskKeyExchangeMode.", _tls_psk_kx_modes),
    ("STATUS_TYPES", "TLS CertificateStatusType.", _cert_status_type | {2: "ocsp_multi"}),
)  # fmt: skip

HEAD = '''\
"""Names of TLS code points: code to name. Written by tools/generate_tls_names.py; do not edit."""


def _table(text: str) -> dict[int, str]:
    words = text.split()
    return {int(code, 16): name for code, name in zip(words[::2], words[1::2], strict=True)}
'''


def module() -> str:
    """The text of the module."""
    parts = [HEAD]
    for name, doc, table in TABLES:
        pairs = " ".join(f"{code:04x} {table[code]}" for code in sorted(table))
        parts.append(f'{name} = _table("""\n{wrapped(pairs)}\n""")\n"""{doc}"""\n')
    lines = "".join(f'    0x{code:04X}: "{name}",\n' for code, name in sorted(VERSIONS.items()))
    grease = "".join(f'    0x{code:04X}: "GREASE",\n' for code in sorted(GREASE))
    parts.append(f'VERSIONS = {{\n{lines}{grease}}}\n"""ProtocolVersion."""\n')
    return "\n".join((f"{parts[0]}\n", *parts[1:]))


def wrapped(pairs: str) -> str:
    """The pairs in lines, code and name never apart."""
    joined = pairs.split()
    units = [f"{code}\0{name}" for code, name in zip(joined[::2], joined[1::2], strict=True)]
    lines = textwrap.wrap(" ".join(units), 108, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    text = module()
    if parser.parse_args().check:
        if MODULE.read_text() == text:
            return 0
        sys.stderr.write(f"{MODULE} is out of date: python {Path(__file__).name}\n")
        return 1
    MODULE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
