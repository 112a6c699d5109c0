"""The cursor's two ends."""

import pytest

from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore


def test_reads_big_endian() -> None:
    cursor = Cursor(bytes(range(1, 10)))
    assert cursor.read_u8("a") == 1
    assert cursor.read_u16("b") == 0x0203
    assert cursor.read_u24("c") == 0x040506
    assert cursor.read_bytes(2, "d") == b"\7\x08"
    assert cursor.position == 8


def test_past_what_arrived_is_need_more() -> None:
    with pytest.raises(NeedMore) as more:
        Cursor(b"ab").read_bytes(5, "field")
    assert more.value.total == 5


def test_past_the_declared_end_is_malformed() -> None:
    inner = Cursor(b"abcdef").read_sub(2, "list")
    assert inner.read_u16("item") == 0x6162
    with pytest.raises(Malformed) as bad:
        inner.read_u8("item")
    assert (bad.value.offset, bad.value.field) == (2, "item")


def test_a_sub_cursor_may_wait_for_bytes_within_its_limit() -> None:
    inner = Cursor(b"abc").read_sub(10, "list")
    with pytest.raises(NeedMore) as more:
        inner.read_bytes(4, "item")
    assert more.value.total == 4
    with pytest.raises(Malformed):
        inner.read_bytes(11, "item")


def test_a_sub_cursor_cannot_outgrow_its_parent() -> None:
    with pytest.raises(Malformed):
        Cursor(b"abcdef").read_sub(3, "outer").read_sub(4, "inner")


@pytest.mark.parametrize("count", [-1, -(2**62)])
def test_a_negative_count_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        Cursor(b"abc").read_bytes(count, "x")
    with pytest.raises(ValueError, match="negative"):
        Cursor(b"abc").read_sub(count, "x")


def test_a_huge_count_does_not_wrap_around() -> None:
    cursor = Cursor(b"abc", 3)
    cursor.read_u8("a")
    with pytest.raises(Malformed):
        cursor.read_bytes(2**62, "x")
