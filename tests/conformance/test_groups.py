import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from conformance.support import Copier, Notes, Tuning, join, read_all, send, until

from vermilion_pipeline.ports import Broker, BrokerError, Committed, Message, Partition, TransactionAborted

Names = Callable[[str], str]


def test_members_share_the_partitions_and_each_record_comes_once(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic, group = unique("shared"), unique("group")
    broker.create([topic], 4, None)
    notes = [Notes() for _ in range(3)]
    members = [broker.consumer([topic], group, note) for note in notes]
    for member in members:
        closing.callback(member.close)
    found: list[Message] = []

    def poll() -> None:
        for member in members:
            found.extend(member.poll(100, 0.05))

    until(lambda: sorted(len(note.held) for note in notes) == [1, 1, 2], poll, f"a fair share, {notes=}")
    send(broker, topic, [(b"%d" % n, b"%d" % n) for n in range(400)])
    until(lambda: len(found) >= 400, poll, "400 records")
    poll()
    assert Counter(message.value for message in found) == Counter(b"%d" % n for n in range(400))
    assert set.union(*(note.held for note in notes)) == {Partition(topic, n) for n in range(4)}


def test_a_member_for_which_no_partition_is_left_is_told_so(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic, group = unique("few"), unique("group")
    broker.create([topic], 1, None)
    notes = [Notes() for _ in range(2)]
    members = [broker.consumer([topic], group, note) for note in notes]
    for member in members:
        closing.callback(member.close)
    assert not any(note.joined for note in notes)  # before they have polled

    def poll() -> None:
        for member in members:
            member.poll(1, 0.05)

    until(lambda: all(note.joined for note in notes), poll, f"word to both, {notes=}")
    assert sum(len(note.held) for note in notes) == 1


def test_groups_do_not_disturb_one_another(broker: Broker, unique: Names, closing: ExitStack) -> None:
    topic = unique("both")
    broker.create([topic], 2, None)
    send(broker, topic, [(b"%d" % n, b"") for n in range(50)])
    for _ in range(2):
        notes = Notes()
        member = broker.consumer([topic], unique("group"), notes)
        closing.callback(member.close)
        found = join(member, notes, 2)
        until(lambda: len(found) == 50, lambda: found.extend(member.poll(50, 0.1)), "50 records")  # noqa: B023


def test_a_partition_is_given_up_before_it_is_taken(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic, group = unique("handed"), unique("group")
    broker.create([topic], 4, None)
    first, second = Notes(), Notes()
    old = broker.consumer([topic], group, first)
    closing.callback(old.close)
    join(old, first, 4)
    new = broker.consumer([topic], group, second)
    closing.callback(new.close)

    def poll() -> None:
        for member in (new, old):
            member.poll(10, 0.05)
            assert not first.held & second.held

    until(lambda: len(second.held) == 2, poll, f"half of the partitions, {second=}")
    # Cooperative: what stays was never taken away.
    assert sorted(first.given_up) == sorted(second.held)
    new.close()
    assert not second.held
    until(lambda: len(first.held) == 4, lambda: old.poll(10, 0.05), "all partitions again")


def test_what_an_assignment_raises_passes_through_poll(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic = unique("raises")
    broker.create([topic], 1, None)

    class Broken(Notes):
        def assigned(self, committed: object) -> dict[Partition, int]:
            raise LookupError("state cannot be restored")

    consumer = broker.consumer([topic], unique("group"), Broken())
    closing.callback(consumer.close)
    with pytest.raises(LookupError, match="cannot be restored"):
        until(lambda: False, lambda: consumer.poll(1, 0.1), "the error")


def test_a_closed_consumer_is_closed(broker: Broker, unique: Names) -> None:
    topic = unique("closed")
    broker.create([topic], 1, None)
    consumer = broker.consumer([topic], unique("group"), Notes())
    consumer.close()
    consumer.close()
    with pytest.raises(BrokerError, match="closed"):
        consumer.poll(1, 0)


@pytest.mark.parametrize("when_revoked", ["commit", "abort"])
def test_a_rebalance_in_mid_transaction_loses_nothing_and_repeats_nothing(
    broker: Broker, unique: Names, closing: ExitStack, when_revoked: str
) -> None:
    source, target, group = unique("source"), unique("target"), unique("group")
    broker.create([source, target], 4, None)
    send(broker, source, [(b"%d" % n, b"%d" % n) for n in range(400)])
    first = Copier(broker, source, target, group, unique("producer"))
    closing.callback(first.close)
    if when_revoked == "abort":
        first.when_revoked = first.abort
    until(lambda: first.copied >= 100, first.step, "the first records")
    first.commit()
    before = first.copied
    until(lambda: first.copied >= before + 50, first.step, "an open transaction")
    assert first.open
    second = Copier(broker, source, target, group, unique("producer"))
    closing.callback(second.close)

    def hand_over() -> None:
        first.step(1)
        second.step(1)

    until(lambda: len(second.held) == 2, hand_over, "half of the partitions")
    assert len(first.given_up) == 2
    for copier in (first, second):
        copier.commit()
    send(broker, source, [(b"%d" % n, b"%d" % n) for n in range(400, 500)])

    def work() -> None:
        for copier in (first, second):
            copier.step()
            copier.commit()

    def done() -> bool:
        every = [Partition(source, n) for n in range(4)]
        committed = second.consumer.committed(every)
        return sum(known.offset for known in committed.values() if known) == 500

    until(done, work, "everything committed")
    assert second.copied
    assert Counter(message.value for message in read_all(broker, target)) == Counter(
        b"%d" % n for n in range(500)
    )


@pytest.mark.parametrize("tuning", [Tuning(stalls=True)])
def test_a_member_that_stalled_cannot_commit(broker: Broker, unique: Names, closing: ExitStack) -> None:
    source, target, group = unique("source"), unique("target"), unique("group")
    broker.create([source, target], 1, None)
    send(broker, source, [(None, b"%d" % n) for n in range(10)])
    partition = Partition(source, 0)
    stalled = Copier(broker, source, target, group, unique("producer"))
    closing.callback(stalled.close)
    until(lambda: stalled.copied == 10, stalled.step, "10 records in a transaction")
    heir = Notes()
    successor = broker.consumer([source], group, heir)
    closing.callback(successor.close)
    found = join(successor, heir, 1)
    assert heir.committed == {partition: None}
    with pytest.raises(TransactionAborted):
        stalled.producer.send_offsets({partition: Committed(10, "stale")}, stalled.consumer)
    with pytest.raises(TransactionAborted):
        stalled.producer.commit()
    stalled.abort()
    assert successor.committed([partition]) == {partition: None}
    until(lambda: len(found) == 10, lambda: found.extend(successor.poll(10, 0.1)), "the records, again")
    producer = broker.transactional(unique("producer"))
    closing.callback(producer.close)
    producer.begin()
    producer.send_offsets({partition: Committed(4, "heir")}, successor)
    producer.commit()
    successor.close()
    # Its next poll tells it of the loss first, even though the partition is free again.
    until(
        lambda: len(stalled.assignments) == 2, lambda: stalled.consumer.poll(1, 0.1), "the partition, again"
    )
    assert stalled.given_up == [partition]
    assert stalled.committed == {partition: Committed(4, "heir")}
    assert read_all(broker, target) == []


@pytest.mark.parametrize("tuning", [Tuning(stalls=True)])
def test_a_stalled_member_that_is_closed_is_told_of_its_loss(broker: Broker, unique: Names) -> None:
    topic, group = unique("stalled"), unique("group")
    broker.create([topic], 1, None)
    first, second = Notes(), Notes()
    stalled = broker.consumer([topic], group, first)
    join(stalled, first, 1)
    successor = broker.consumer([topic], group, second)
    join(successor, second, 1)
    stalled.close()
    assert not first.held
    successor.close()


def test_offsets_of_a_partition_that_is_another_members_are_refused(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    """A broker would take them: it checks the member, not what the member has."""
    topic, group = unique("foreign"), unique("group")
    broker.create([topic], 2, None)
    first, second = Notes(), Notes()
    one = broker.consumer([topic], group, first)
    closing.callback(one.close)
    join(one, first, 2)
    other = broker.consumer([topic], group, second)
    closing.callback(other.close)
    until(
        lambda: len(second.held) == 1, lambda: (one.poll(1, 0.05), other.poll(1, 0.05)), "one partition each"
    )
    producer = broker.transactional(unique("producer"))
    closing.callback(producer.close)
    producer.begin()
    with pytest.raises(TransactionAborted):
        producer.send_offsets(dict.fromkeys(second.held, Committed(1)), one)
    producer.abort()
    assert set(other.committed(second.held).values()) == {None}


def test_a_new_owner_waits_for_the_offsets_of_an_open_transaction(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    """Else it would start from what is about to be overtaken, and records would count twice."""
    topic, group = unique("pending"), unique("group")
    broker.create([topic], 1, None)
    send(broker, topic, [(None, b"%d" % n) for n in range(10)])
    partition, first, second = Partition(topic, 0), Notes(), Notes()
    owner = broker.consumer([topic], group, first)
    closing.callback(owner.close)
    join(owner, first, 1)
    producer = broker.transactional(unique("producer"))
    closing.callback(producer.close)
    producer.begin()
    producer.send_offsets({partition: Committed(7, "pending")}, owner)
    owner.close()

    successor = broker.consumer([topic], group, second)
    closing.callback(successor.close)
    found: list[Message] = []
    polling = threading.Thread(target=lambda: found.extend(join(successor, second, 1)))
    polling.start()
    polling.join(1.5)
    assert polling.is_alive(), "the partition came while its offset was undecided"
    producer.commit()
    polling.join()
    assert second.committed == {partition: Committed(7, "pending")}
    until(lambda: len(found) == 3, lambda: found.extend(successor.poll(10, 0.1)), "the rest")
    assert [message.value for message in found] == [b"7", b"8", b"9"]
