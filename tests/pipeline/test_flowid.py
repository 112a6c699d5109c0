"""Community ID: the specification's own examples."""

from socket import AF_INET, AF_INET6, inet_pton

import pytest

from vermilion_pipeline.flowid import community_id


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (("128.232.110.120", 34855), ("66.35.250.204", 80), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (("fe80:1:203:405:607:809:a0b:c0d", 1), ("fe80:1:203:405:607:809:a0b:c0e", 2), None),
    ],
)
def test_both_directions_have_one_name(
    one: tuple[str, int], two: tuple[str, int], expected: str | None
) -> None:
    family = AF_INET6 if ":" in one[0] else AF_INET
    a, b = inet_pton(family, one[0]), inet_pton(family, two[0])
    there, back = community_id(a, b, one[1], two[1], 6), community_id(b, a, two[1], one[1], 6)
    assert there == back
    assert expected in (None, there)
    assert community_id(a, b, one[1], two[1], 17) != there
