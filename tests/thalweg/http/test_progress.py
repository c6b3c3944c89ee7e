"""What a person sees of a fetch."""

import io
import re

from rich.console import Console
from transport_builder import BAND, find_file, make_session, promise, url_of

from thalweg.http.progress import clock, megabytes, rate, watch


def fetch(cdse, safe, tmp_path, console):
    files = [find_file(safe), find_file(safe, "B03_60m.jp2")]
    (tmp_path / files[1].name).write_bytes(files[1].read_bytes())  # of an earlier run
    size = sum(path.stat().st_size for path in files)
    with watch(len(files), size, console) as progress:
        for path in files:
            make_session(cdse, tmp_path).download(url_of(cdse, path), tmp_path / path.name, promise(path), progress)


def test_a_plain_line_per_file_where_there_is_no_terminal(cdse, safe, tmp_path):
    console = Console(file=io.StringIO(), force_terminal=False, width=40)
    fetch(cdse, safe, tmp_path, console)
    first, second = console.file.getvalue().splitlines()
    assert re.fullmatch(r"1/2 T20KNA_\w+_B02_60m.jp2 \d+\.\d kB \d+\.\d [kM]B/s, \d:\d\d:\d\d left", first)
    assert re.fullmatch(r"2/2 T20KNA_\w+_B03_60m.jp2 \d+\.\d kB there already", second)


def test_bars_on_a_terminal(cdse, safe, tmp_path):
    from standin.faults import Fault

    cdse.fault(BAND, Fault(cut=500))
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    fetch(cdse, safe, tmp_path, console)
    shown = console.file.getvalue()
    assert "2/2 files" in shown
    assert "100" in shown or "━" in shown


def test_sizes_and_times_for_people():
    assert megabytes(41_300_000) == "41.3 MB"
    assert megabytes(3_750) == "3.8 kB"
    assert rate(34_000_000, 10) == "3.4 MB/s"
    assert clock(3723.9) == "1:02:03"
