"""Who may work on what at a time."""

import threading
import time

import pytest

from thalweg.http.connections import Connections


def test_a_slot_is_free_again_after_a_failure(tmp_path):
    connections = Connections(tmp_path, 1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), connections.slot():
            raise ZeroDivisionError


@pytest.mark.parametrize("way", ["slot", "claim"])
def test_only_one_at_a_time(tmp_path, way):
    inside, most = [], []

    def work():
        own = Connections(tmp_path, 1)
        with own.slot() if way == "slot" else own.claim(tmp_path / "place"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == [1] * 6


def test_claims_of_other_places_do_not_wait(tmp_path):
    connections = Connections(tmp_path, 1)
    with connections.claim(tmp_path / "one"), connections.claim(tmp_path / "two"):
        assert len(list(tmp_path.glob("claims/*.lock"))) == 2
