"""The store of responses: reads return what was stored, the oldest responses are dropped, and all processes see the
same."""

from __future__ import annotations

import os
import random
import sys
from collections import OrderedDict

import pytest

from mockserver.workers.response_store import LastResponse, ResponseStore, StoredResponse


def response(conversation: bytes, body: bytes = b"{}") -> StoredResponse:
    return StoredResponse(conversation, body)


def test_what_is_stored_comes_back_until_it_is_removed() -> None:
    store = ResponseStore(10, 1000)
    store.add("a", response(b"[1]", b'{"id":"a"}'))
    store.add("\ud800", response(b"", b""))
    assert store.get("a") == response(b"[1]", b'{"id":"a"}')
    assert store.get("\ud800") == response(b"", b"")
    assert store.get("b") is None
    assert (store.remove("a"), store.remove("a"), store.get("a")) == (True, False, None)
    store.add("a", response(b"[2]"))
    store.add("a", response(b"[3]"))
    assert store.get("a") == response(b"[3]")
    store.clear()
    assert (store.get("a"), store.state().responses, store.state().stored_bytes) == (None, 0, 0)
    store.close()


@pytest.mark.parametrize(("most", "size"), [(0, 100), (5, 0), (0, 0)])
def test_a_store_without_room_stores_nothing_not_even_what_is_empty(most: int, size: int) -> None:
    store = ResponseStore(most, size)
    store.add("a", response(b"", b""))
    assert (store.get("a"), store.remove("a"), store.state().responses) == (None, False, 0)
    store.close()


def test_a_store_may_be_filled_to_its_last_byte() -> None:
    store = ResponseStore(10, 10)
    store.add("a", response(b"12345", b"67890"))
    assert store.get("a") == response(b"12345", b"67890")
    store.add("b", response(b"12345", b"678901"))  # Larger than the store.
    assert (store.get("a"), store.get("b")) == (response(b"12345", b"67890"), None)
    store.add("c", response(b"1", b""))
    assert (store.get("a"), store.get("c"), store.state().dropped) == (None, response(b"1", b""), 1)
    store.add("a", response(b"123456789", b""))
    assert (store.get("c"), store.get("a"), store.state().stored_bytes) == (
        response(b"1", b""),
        response(b"123456789", b""),
        10,
    )
    store.close()


@pytest.mark.parametrize("added", [0, 1, 2, 50])
def test_a_store_can_be_cleared_however_much_it_has_had(added: int) -> None:
    store = ResponseStore(2, 100)
    for number in range(added):
        store.add(str(number), response(b"x"))
    store.clear()
    assert (store.state().responses, store.state().stored_bytes, store.state().dropped) == (0, 0, 0)
    assert [store.get(str(number)) for number in range(added)] == [None] * added
    store.add("a", response(b"y"))
    assert store.get("a") == response(b"y")
    store.close()


def test_what_makes_room_is_counted_as_dropped() -> None:
    store = ResponseStore(2, 100)
    for name in "abc":
        store.add(name, response(b""))
    assert store.state().dropped == 1
    store.remove("b")
    store.add("d", response(b""))  # The oldest response was removed before.
    assert store.state().dropped == 1
    store.clear()
    assert store.state().dropped == 0
    store.close()


def test_a_store_of_nothing_and_what_is_too_large() -> None:
    for store in (ResponseStore(), ResponseStore(0, 1000), ResponseStore(5, 0)):
        store.add("a", response(b""))
        assert (store.get("a"), store.remove("a"), store.state().responses) == (None, False, 0)
        store.clear()
        store.close()
    store = ResponseStore(5, 10)
    store.add("a", response(b"12345678", b"90"))
    assert store.get("a") is not None
    store.add("a", response(b"12345678", b"901"))
    assert store.get("a") is None, "an older response with this id must not reappear"
    store.close()


def test_a_digest_is_found_in_its_slot_and_not_across_two() -> None:
    store = ResponseStore(4, 100)
    wanted = bytes(range(1, 9))
    for slot, digest in enumerate((b"xxxx" + wanted[:4], wanted[4:] + b"xxxx", b"yyyyyyyy", wanted)):
        store._words[store._digests + slot] = int.from_bytes(digest, sys.byteorder)
    assert store._find(int.from_bytes(wanted, sys.byteorder)) == 3
    store._words[store._digests + 3] = 0
    assert store._find(int.from_bytes(wanted, sys.byteorder)) is None
    store.close()


@pytest.mark.parametrize("seed", range(20))
def test_it_is_a_queue_bounded_in_number_and_bytes(seed: int) -> None:
    """Compared with a Python queue: the same ids and bytes, whatever wraps around the end."""
    chance = random.Random(seed)
    most, size = chance.randint(1, 12), chance.randint(1, 300)
    store = ResponseStore(most, size)
    queue: OrderedDict[int, tuple[str, StoredResponse, bool]] = OrderedDict()
    for number in range(300):
        name = f"r{chance.randint(0, 20)}"
        if chance.random() < 0.15:
            alive = [n for n, (other, _, there) in queue.items() if other == name and there]
            assert store.remove(name) is bool(alive)
            for n in alive:
                queue[n] = (*queue[n][:2], False)
            continue
        new = response(chance.randbytes(chance.randint(0, 60)), chance.randbytes(chance.randint(0, 60)))
        need = len(new.conversation) + len(new.body)
        store.add(name, new)
        for n, (other, old, _) in queue.items():
            if other == name:
                queue[n] = (other, old, False)
        if need <= size:
            while queue and (
                len(queue) >= most or need + sum(len(r.conversation) + len(r.body) for _, r, _ in queue.values()) > size
            ):
                queue.popitem(last=False)
            queue[number] = (name, new, True)
        for i in range(21):
            wanted = [r for other, r, there in queue.values() if other == f"r{i}" and there]
            assert store.get(f"r{i}") == (wanted[0] if wanted else None)
        state = store.state()
        assert state.responses == sum(there for _, _, there in queue.values())
        assert state.stored_bytes == sum(len(r.conversation) + len(r.body) for _, r, _ in queue.values())
    store.close()


@pytest.mark.processes
@pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")
def test_what_one_process_stores_another_finds() -> None:
    store = ResponseStore(1000, 100_000)
    children = []
    for child in range(4):
        if (pid := os.fork()) == 0:
            for i in range(100):
                store.add(f"{child}-{i}", response(b"%d" % (child * 1000 + i)))
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    for child in range(4):
        for i in range(100):
            assert store.get(f"{child}-{i}") == response(b"%d" % (child * 1000 + i))
    store.close()


def test_a_connection_remembers_its_last_response_alone() -> None:
    last = LastResponse()
    assert last.get("a") is None
    last.keep("a", response(b"1"))
    last.keep("b", response(b"2"))
    assert (last.get("a"), last.get("b")) == (None, response(b"2"))
    last.forget("a")
    assert last.get("b") is not None
    last.forget("b")
    assert last.get("b") is None
