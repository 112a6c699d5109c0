"""The verifier sees what is wrong, and only that: each way to get delivery wrong turns it red."""

import pytest
from chaos.mutants import MUTANTS, Mutant, play
from chaos.verify import Told, Verdict, compare

SEEDS = range(6)
EVENTS, LETTERS = 120, 9


@pytest.mark.parametrize("classify", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_chain_as_it_is_passes_under_the_same_faults(seed: int, classify: bool) -> None:
    verdict, faults = play(Mutant("none", "", classify=classify), seed)
    assert verdict.clean, verdict
    assert verdict.expected >= EVENTS + LETTERS * (1 + classify)
    assert faults >= 5


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_turns_it_red(mutant: Mutant) -> None:
    seeds = SEEDS[:1] if mutant.without_faults else SEEDS
    counts = [getattr(play(mutant, seed)[0], mutant.raises) for seed in seeds]
    assert sum(counts) > 0, counts
    assert sum(count > 0 for count in counts) >= len(counts) / 2, counts


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_only_faults_show_it(mutant: Mutant) -> None:
    verdict, faults = play(mutant, 1, faulty=False)
    assert faults == 0
    assert verdict.clean != mutant.without_faults


def told(identity: str, flow: str = "a", place: int = 0) -> Told:
    return Told(flow, identity, place)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ("1 2 3 4", Verdict(4, 0, 0, 0, 0)),
        ("1 3 4", Verdict(4, 1, 0, 0, 0)),
        ("", Verdict(4, 4, 0, 0, 0)),
        ("1 2 2 3 4 2", Verdict(4, 0, 2, 0, 0)),
        ("1 2 3 4 5", Verdict(4, 0, 0, 1, 0)),
        ("1 3 2 4", Verdict(4, 0, 0, 0, 1)),
        ("4 1 2 3", Verdict(4, 0, 0, 0, 3)),
        ("9 9 2 1", Verdict(4, 2, 0, 2, 1)),
    ],
)
def test_counts(found: str, verdict: Verdict) -> None:
    expected = [told(name) for name in ("1", "2", "3", "4")]
    assert compare(expected, [told(name) for name in found.split()]) == verdict


def test_order_is_a_flows_own_and_needs_one_partition() -> None:
    expected = [told("1"), told("2", "b"), told("3")]
    assert compare(expected, [told("2", "b"), told("1"), told("3")]).clean
    assert compare(expected, [told("2", "b"), told("1"), told("3", place=1)]).reordered == 1


def test_an_undisturbed_run_that_repeats_itself_is_no_reference() -> None:
    with pytest.raises(ValueError, match="gives 1 twice"):
        compare([told("1"), told("1")], [])
