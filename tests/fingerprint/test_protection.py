"""Records of ciphers that no OpenSSL of today speaks, and which cipher suites can be opened."""

import hmac

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC
from fingerprint.test_decryption import REQUEST

from vermilion_fingerprint.decrypt.protection import Cbc, NotVerified
from vermilion_fingerprint.decrypt.suites import SUITES


def test_triple_des() -> None:
    """A record as RFC 5246 6.2.3.2 has it."""
    suite = SUITES[0x000A]
    key, mac_key, iv = bytes(range(24)), bytes(20), bytes(8)
    header = bytes(8) + b"\x17\x03\x02"
    tag = hmac.digest(mac_key, header + len(REQUEST).to_bytes(2, "big") + REQUEST, "sha1")
    plain = REQUEST + tag
    padding = 8 - len(plain) % 8
    plain += bytes((padding - 1,)) * padding
    encryptor = Cipher(TripleDES(key), CBC(iv)).encryptor()
    fragment = iv + encryptor.update(plain) + encryptor.finalize()
    opened = Cbc(suite, key, mac_key, b"", encrypt_then_mac=False)
    assert opened.open(23, 0x0302, fragment) == (23, REQUEST)
    for at in range(0, len(fragment), 7):
        wrong = bytearray(fragment)
        wrong[at] ^= 1
        with pytest.raises(NotVerified):
            Cbc(suite, key, mac_key, b"", encrypt_then_mac=False).open(23, 0x0302, bytes(wrong))
    for length in range(len(fragment)):
        with pytest.raises(NotVerified):
            Cbc(suite, key, mac_key, b"", encrypt_then_mac=False).open(23, 0x0302, fragment[:length])


@pytest.mark.parametrize(
    ("code", "mode", "key_size", "digest", "mac"),
    [
        (0x000A, "3DES_CBC", 24, "sha256", "sha1"),
        (0x002F, "CBC", 16, "sha256", "sha1"),
        (0x003D, "CBC", 32, "sha256", "sha256"),
        (0xC024, "CBC", 32, "sha384", "sha384"),
        (0xC030, "GCM", 32, "sha384", None),
        (0xC0AE, "CCM_8", 16, "sha256", None),
        (0xCCA8, "CHACHA20_POLY1305", 32, "sha256", None),
        (0x1301, "GCM", 16, "sha256", None),
        (0x1302, "GCM", 32, "sha384", None),
        (0x1305, "CCM_8", 16, "sha256", None),
    ],
)
def test_what_a_suites_name_says(code: int, mode: str, key_size: int, digest: str, mac: str | None) -> None:
    suite = SUITES[code]
    assert (suite.mode, suite.key_size, suite.digest.name) == (mode, key_size, digest)
    assert (suite.mac and suite.mac.name) == mac


def test_what_is_not_opened_is_no_suite_here() -> None:
    # RC4, NULL, Camellia, ARIA, the drafts' ChaCha20 and the signalling value
    assert not {0x0005, 0x0002, 0x0041, 0xC051, 0xCC13, 0x00FF} & SUITES.keys()
