"""Two workers on hosts of their own, and what goes wrong between them: the same bytes, and nothing done twice."""

import shutil
import time
from collections import Counter

import numpy as np
import pytest
from engine_builder import Cluster, Namespaces, act, digests, ended, make_raws, places
from map_builder import make_chips, make_member, make_parts, quarters
from scene_builder import make_scene

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow
CUT_S = 20


@pytest.fixture
def hosts():
    with places() as found:
        yield found


@pytest.fixture(params=["scenes", "maps"])
def stage(request, tmp_path):
    """A stage's inputs, and what it makes of them by itself."""
    if request.param == "scenes":
        make_raws(tmp_path, 10)
    else:
        scene = make_scene(tmp_path / "scenes/g60", "tall", shape=(6200, 24), seed=1)
        make_parts(tmp_path / "split", scene, quarters((6200, 24)))
        make_chips(tmp_path / "split", "g60", {"tall": quarters((6200, 24))})
        for seed, name in enumerate(("one", "two")):
            make_member(tmp_path / "models" / name, scene, seed=seed)
    ended(act(tmp_path, request.param, "here"))
    return request.param


@pytest.fixture
def cluster(stage, hosts, tmp_path):
    made = Cluster(tmp_path, hosts, 1.5 if stage == "scenes" else 0.2)
    made.scheduler()
    for number in range(2):
        made.worker(number)
    yield made
    made.end()


def check(cluster, again=0) -> None:
    """The bytes are those of one process; of what had finished, at most so much was done again."""
    assert digests(cluster.home / "there/out") == digests(cluster.home / "here/out")
    done = Counter(cluster.units())
    assert sum(done.values()) - len(done) <= again, done
    assert len(done) in (10, 50)  # scenes; ⌈6200 / 256⌉ bands of two members


def test_two_workers_share_a_stage(cluster, stage, tmp_path):
    ended(act(tmp_path, stage, "there", f"dask:{cluster.address}"))
    check(cluster)
    workers = Counter(line.split('"worker": ')[1] for line in cluster.log.read_text().splitlines())
    assert len(workers) == 2


def test_a_killed_worker_costs_what_it_was_at(cluster, stage, tmp_path):
    running = act(tmp_path, stage, "there", f"dask:{cluster.address}")
    cluster.wait_for(3)
    cluster.kill("worker0")
    ended(running)
    # of a unit's two members, the first's band may have been whole when the worker died before the second's was
    check(cluster, again=0 if stage == "scenes" else 1)
    assert len(cluster.units("start")) > len(cluster.units("end"))


def test_a_scheduler_that_restarts_costs_what_was_at_work(cluster, stage, tmp_path):
    running = act(tmp_path, stage, "there", f"dask:{cluster.address}")
    cluster.wait_for(3)
    cluster.kill("scheduler")
    time.sleep(2)
    cluster.scheduler()
    for number in range(2):  # workers whose scheduler is gone end; what started them starts them again
        cluster.kill(f"worker{number}")
        cluster.worker(number)
    said = ended(running)
    assert "is gone; waiting up to 15 minutes" in said
    check(cluster, again=0 if stage == "scenes" else 2)


def test_a_network_that_is_cut_for_a_while_costs_time(cluster, stage, hosts, tmp_path):
    if not isinstance(hosts, Namespaces):
        pytest.skip("no network namespaces here")
    running = act(tmp_path, stage, "there", f"dask:{cluster.address}")
    cluster.wait_for(3)
    hosts.cable(0, "down")
    cut = time.monotonic()
    time.sleep(CUT_S)
    hosts.cable(0, "up")
    ended(running)
    assert time.monotonic() - cut > CUT_S
    check(cluster)


def test_a_stage_that_is_killed_goes_on_where_it_was(cluster, stage, tmp_path):
    running = act(tmp_path, stage, "there", f"dask:{cluster.address}")
    cluster.wait_for(4)
    running.kill()
    running.communicate()
    time.sleep(4)  # workers end what they are at
    if stage == "maps":
        np.testing.assert_array_equal(len(list((tmp_path / "there").rglob("*.npy"))), len(cluster.units()))
    shutil.rmtree(tmp_path / "there/out")
    ended(act(tmp_path, stage, "there", f"dask:{cluster.address}"))
    check(cluster)
