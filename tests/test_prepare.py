"""Preparing: what is used as it is, GYM_SOURCES, real HTTP on loopback, scripts that misbehave, the freeze, many processes at once."""

import gzip
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_gym import fetch
from pytest_gym.benchmark import DatasetSpec, Source
from pytest_gym.errors import DataError, GymError
from pytest_gym.fetch import alone
from pytest_gym.index import look, open_indexed
from pytest_gym.prepare import cached_path, is_prepared, prepare

from .samples import make_benchmark, write

RAW = b'{"q": "1+1", "a": 2}\n{"q": "2+2", "a": 4}\n'
FROZEN = b'{"answer": 2, "question": "1+1"}\n{"answer": 4, "question": "2+2"}\n'
SCRIPT = """
import json

def prepare(files):
    for line in files["test.jsonl"].read_text().splitlines():
        row = json.loads(line)
        yield {"question": row["q"], "answer": row["a"]}
"""


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Lab:
    """A benchmark folder, a cache and a folder of sources, with the arguments that `prepare` takes."""

    def __init__(self, root):
        self.root = root
        self.cache, self.sources, self.lock = root / "cache", root / "sources", root / "gym.lock"
        self.said = []
        write(root, {"mine/prepare.py": SCRIPT})

    def give(self, path="mine/test.jsonl", data=RAW):
        target = self.sources / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def benchmark(self, name="mine", source=None, *, script=SCRIPT, **spec):
        path = None
        if script is not None:
            path = self.root / "mine" / f"script_{sha(script.encode())[:8]}.py"
            path.write_text(script)
        values = {
            "name": "rows", "type": "benchmark", "sources": (source or Source("test.jsonl"),), "prepare_script": path and str(path),
            "path": "rows.jsonl", **spec,
        }  # fmt: skip
        return make_benchmark(name, self.root / "mine", datasets=(DatasetSpec(**values),))

    def prepare(self, benchmark=None, **changes):
        benchmark = benchmark or self.benchmark()
        places = {"cache": self.cache, "sources": self.sources, "lock": self.lock, "progress": self.said.append, **changes}
        return prepare(benchmark, benchmark.dataset(), **places)

    def error(self, benchmark=None, **changes):
        with pytest.raises(GymError) as caught:
            self.prepare(benchmark, **changes)
        assert "\n" not in str(caught.value)
        assert [path for path in self.root.rglob("*.part")] == []
        return str(caught.value)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.001)
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return Lab(tmp_path)


class Server:
    """An HTTP server on loopback; `replies` maps a path to (status, headers, body) or a list of them, one for each request."""

    def __init__(self):
        self.replies, self.requests = {}, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append((self.path, dict(self.headers)))
                reply = outer.replies.get(self.path, (404, {}, b""))
                if isinstance(reply, list):
                    reply = reply.pop(0)
                status, headers, body = reply
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def test_a_file_beside_the_config_is_used_as_it_is(lab):
    write(lab.root, {"mine/rows.jsonl": '{"question": "1"}\n\n'})
    path, content = lab.root / "mine/rows.jsonl", b'{"question": "1"}\n\n'
    prepared = lab.prepare(lab.benchmark(sources=(), prepare_script=None))
    assert (prepared.path, prepared.sha256, prepared.num_rows, prepared.frozen) == (path, sha(content), 1, False)
    assert lab.prepare(lab.benchmark(sources=(), prepare_script=None, sha256=sha(content), num_rows=1)).frozen
    assert not lab.cache.exists() and not lab.lock.exists()
    text = lab.error(lab.benchmark(sources=(), prepare_script=None, sha256="0" * 64))
    assert f"rows.jsonl is not what the config froze: its sha256 is {sha(content)}, not {'0' * 64}" in text
    assert "its num_rows is 1, not 2" in lab.error(lab.benchmark(sources=(), prepare_script=None, num_rows=2))


def test_a_file_that_is_nowhere(lab):
    text = lab.error(lab.benchmark(sources=(), prepare_script=None))
    assert text == f"{lab.root}/mine/config.yaml:3: the dataset 'rows.jsonl' of mine does not exist beside the config"


def test_from_gym_sources_into_the_cache(lab):
    lab.give()
    prepared = lab.prepare(lab.benchmark(source=Source("test.jsonl", sha256=sha(RAW)), sha256=sha(FROZEN), num_rows=2))
    assert prepared.path == lab.cache / "mine/rows.jsonl"
    assert prepared.path.read_bytes() == FROZEN
    assert (prepared.sha256, prepared.num_rows, prepared.frozen) == (sha(FROZEN), 2, True)
    assert not lab.lock.exists()
    assert [path.name for path in prepared.path.parent.iterdir()] == ["rows.jsonl"]
    assert "mine: 2 rows ready" in lab.said


@pytest.mark.parametrize(
    ("name", "source", "place"),
    [
        ("mine", Source("test.jsonl", local="elsewhere/raw.jsonl"), "elsewhere/raw.jsonl"),
        ("mine", Source("test.jsonl", local="elsewhere/raw.jsonl"), "mine/test.jsonl"),
        ("mine/variant", Source("test.jsonl"), "mine/variant/test.jsonl"),
        ("mine/variant", Source("test.jsonl"), "mine/test.jsonl"),
    ],
)
def test_places_under_gym_sources(lab, name, source, place):
    lab.give(place)
    assert lab.prepare(lab.benchmark(name, source)).path == lab.cache / name / "rows.jsonl"


def test_a_local_file_that_is_not_the_pinned_one(lab):
    lab.give()
    text = lab.error(lab.benchmark(source=Source("test.jsonl", url="http://127.0.0.1:1/x", sha256="0" * 64)))
    assert text == f"mine: {lab.sources}/mine/test.jsonl is not the file that the config pins: its sha256 is {sha(RAW)}, not {'0' * 64}"


def test_without_an_address_the_place_is_named(lab):
    lab.sources.mkdir()
    assert lab.error().endswith(f"the source file 'test.jsonl' has no address in the config; put the file at {lab.sources}/mine/test.jsonl")
    assert lab.error(sources=None).endswith("put the file at DIR/mine/test.jsonl and set GYM_SOURCES=DIR")
    text = lab.error(sources=lab.root / "nowhere")
    assert text == f"GYM_SOURCES names {lab.root}/nowhere, which is not a folder"


def test_the_cache_is_used_while_it_is_right(lab, server):
    server.replies["/raw"] = (200, {}, RAW)
    benchmark = lab.benchmark(source=Source("test.jsonl", url=server.url + "/raw"), sha256=sha(FROZEN), num_rows=2)
    first = lab.prepare(benchmark, sources=None)
    lab.said.clear()
    assert lab.prepare(benchmark, sources=None) == first
    assert (len(server.requests), lab.said) == (1, [])
    first.path.write_bytes(b"{}\n")
    assert lab.prepare(benchmark, sources=None) == first, "a damaged file is made anew"
    assert len(server.requests) == 1, "from the raw file in the cache"


def test_download_over_http(lab, server):
    server.replies["/a/raw"] = (302, {"Location": "/b"}, b"")
    server.replies["/b"] = (200, {}, RAW)
    benchmark = lab.benchmark(source=Source("test.jsonl", url=server.url + "/a/raw", sha256=sha(RAW)), sha256=sha(FROZEN))
    lab.sources.mkdir()
    assert lab.prepare(benchmark).path.read_bytes() == FROZEN
    assert "mine: test.jsonl: fetching 0.0 MB" in lab.said


def test_errors_that_may_pass_are_tried_again(lab, server):
    server.replies["/raw"] = [
        (503, {}, b"busy"), (200, {"Content-Length": str(len(RAW) + 5)}, RAW), (429, {}, b""), (200, {}, RAW),
    ]  # fmt: skip
    lab.prepare(lab.benchmark(source=Source("test.jsonl", url=server.url + "/raw")), sources=None)
    assert len(server.requests) == 4
    assert any("status 503; trying again" in said for said in lab.said)


@pytest.mark.parametrize(("status", "requests", "said"), [(404, 1, "status 404"), (500, 4, "status 500"), (403, 1, "set HF_TOKEN")])
def test_a_download_that_fails(lab, server, status, requests, said):
    server.replies["/raw"] = (status, {}, b"no")
    text = lab.error(lab.benchmark(source=Source("test.jsonl", url=server.url + "/raw")), sources=None)
    assert text.startswith(f"mine: the source file 'test.jsonl' cannot be fetched from {server.url}/raw: the server ")
    assert said in text and text.endswith("put the file at DIR/mine/test.jsonl and set GYM_SOURCES=DIR")
    assert len(server.requests) == requests


def test_nobody_listens(lab, server):
    server.server.socket.close()
    text = lab.error(lab.benchmark(source=Source("test.jsonl", url="http://127.0.0.1:1/raw")), sources=None)
    assert "cannot be fetched from http://127.0.0.1:1/raw: ConnectError" in text
    for url in ("http://[bad/x", "https://exa mple/x", "http://127.0.0.1:99999/x", "http://\udce4/x"):
        assert "cannot be fetched from" in lab.error(lab.benchmark(source=Source("test.jsonl", url=url)), sources=None)


def test_a_download_that_is_not_the_pinned_file(lab, server):
    server.replies["/raw"] = (200, {}, RAW)
    text = lab.error(lab.benchmark(source=Source("test.jsonl", url=server.url + "/raw", sha256="0" * 64)), sources=None)
    assert f"its sha256 is {sha(RAW)}, but the config pins {'0' * 64}: it was changed upstream, or on the way" in text
    assert list(lab.cache.rglob("test.jsonl")) == []


def test_hugging_face(lab, server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    path = "/datasets/owner/repo/resolve/refs%2Fconvert%2Fparquet/data/test%20file.jsonl"
    server.replies[path] = (200, {}, RAW)
    benchmark = lab.benchmark(source=Source("test.jsonl", hf="owner/repo@refs%2Fconvert%2Fparquet/data/test file.jsonl"))
    lab.prepare(benchmark, sources=None, cache=lab.root / "one")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    lab.prepare(benchmark, sources=None, cache=lab.root / "two")
    assert [(asked, headers.get("Authorization")) for asked, headers in server.requests] == [(path, None), (path, "Bearer hf_secret")]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set; put the file at" in lab.error(benchmark, sources=None, cache=lab.root / "three")
    assert len(server.requests) == 2


def test_the_token_goes_to_the_hub_alone(lab, server, monkeypatch):
    other = Server()
    try:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        other.replies["/blob"] = (200, {}, RAW)
        server.replies["/datasets/o/r/resolve/main/x"] = (302, {"Location": other.url + "/blob"}, b"")
        server.replies["/plain"] = (200, {}, RAW)
        lab.prepare(lab.benchmark(source=Source("test.jsonl", hf="o/r@main/x")), sources=None, cache=lab.root / "one")
        lab.prepare(lab.benchmark(source=Source("test.jsonl", url=server.url + "/plain")), sources=None, cache=lab.root / "two")
        assert "Authorization" not in other.requests[0][1]
        assert "Authorization" not in server.requests[1][1]
    finally:
        other.close()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("def prepare(files):\n    yield {}\n    1 / 0\n", ":3: mine: prepare failed: ZeroDivisionError: division by zero"),
        ("def prepare(files):\n    raise SystemExit(0)\n", ":2: mine: prepare failed: SystemExit: 0"),
        ("def prepare(files):\n    return open(files['other.csv'])\n", ":2: mine: prepare failed: KeyError: 'other.csv'"),
        ("def prepare():\n    return []\n", "mine: prepare failed: TypeError"),
        ("def prepare(files):\n    return []\n", "mine: prepare gave no rows"),
        ("def prepare(files):\n    return None\n", "prepare must return or yield rows, not NoneType"),
        ("def prepare(files):\n    return {'a': 1}\n", "prepare must return or yield rows, not dict"),
        ("def prepare(files):\n    return ['a']\n", "mine: row 1 from prepare is not a mapping but str"),
        (
            "def prepare(files):\n    return [{'a': 1}, {'a': {1}}]\n",
            "mine: row 2 from prepare cannot be written as JSON: Object",
        ),
        ("def prepare(files):\n    return [{'a': float('nan')}]\n", "mine: row 1 from prepare cannot be written as JSON: "),
        ("def prepare(files):\n    return [{'a': '\\ud800'}]\n", "mine: row 1 from prepare holds a lone surrogate"),
        (
            "import urllib.request\n\ndef prepare(files):\n    yield {}\n    urllib.request.urlopen('http://127.0.0.1:1/x')\n",
            ":5: mine: prepare asks the network for 127.0.0.1; name the file under sources",
        ),
        (
            "import socket\n\ndef prepare(files):\n    try:\n        socket.create_connection(('host.invalid', 80))\n"
            "    except Exception:\n        pass\n    return [{'a': 1}]\n",
            "mine: prepare asks the network for host.invalid; ",
        ),
        ("def preprae(files):\n    return []\n", "has no function 'prepare(files)'"),
        ("prepare = 3\n", "has no function 'prepare(files)'"),
        ("def prepare(files)\n", "script_"),
        ("import no_such_module\n", ":1: cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_scripts_that_misbehave(lab, script, said):
    lab.give()
    assert said in lab.error(lab.benchmark(script=script))
    assert list(lab.cache.rglob("*.jsonl")) == []


def test_rows_have_one_frozen_form(lab):
    lab.give()
    script = "def prepare(files):\n    yield {'b': 'é\\u2028', 'a': [1, 2.5, None, True]}\n"
    content = '{"a": [1, 2.5, null, true], "b": "é\u2028"}\n'.encode()
    assert lab.prepare(lab.benchmark(script=script)).path.read_bytes() == content


def test_one_jsonl_source_needs_no_script(lab):
    lab.give()
    assert lab.prepare(lab.benchmark(script=None)).path.read_bytes() == b'{"a": 2, "q": "1+1"}\n{"a": 4, "q": "2+2"}\n'
    lab.give(data=b'{"q": 1}\n{oops\n')
    assert f"{lab.sources}/mine/test.jsonl:2: the line is not JSON" in lab.error(lab.benchmark(script=None), cache=lab.root / "other")


def packed(kind, entries):
    """An archive of texts by name; a value that is a tuple is a link to that name."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, text in entries.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (0o120777 if isinstance(text, tuple) else 0o100644) << 16
                archive.writestr(entry, text[0] if isinstance(text, tuple) else text)
    else:
        with tarfile.open(fileobj=buffer, mode=f"w:{kind}") as archive:
            for name, text in entries.items():
                entry = tarfile.TarInfo(name)
                if isinstance(text, tuple):
                    entry.type, entry.linkname = tarfile.SYMTYPE, text[0]
                    archive.addfile(entry)
                    continue
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "gz", "xz", ""])
def test_a_member_of_an_archive(lab, server, kind):
    data = packed(kind, {"set/readme": b"hello", "set/test.jsonl": RAW})
    server.replies["/files/all.pack?x=1"] = (200, {}, data)
    source = Source("test.jsonl", url=server.url + "/files/all.pack?x=1", sha256=sha(data), member="set/test.jsonl")
    for _ in range(2):
        assert lab.prepare(lab.benchmark(source=source), sources=None).path.read_bytes() == FROZEN
        (lab.cache / "mine/rows.jsonl").unlink()
    assert len(server.requests) == 1
    lab.give("mine/all.pack", data)
    assert lab.prepare(lab.benchmark(source=source), cache=lab.root / "other").sha256 == sha(FROZEN), "the archive from GYM_SOURCES"
    text = lab.error(lab.benchmark(source=replace(source, member="set/tset.jsonl")), cache=lab.root / "third")
    assert text == f"mine: {lab.sources}/mine/all.pack: has no member 'set/tset.jsonl'; did you mean 'set/test.jsonl'?"


@pytest.mark.parametrize("kind", ["zip", "gz"])
@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"../out": b"x"}, "is refused: its entry '../out' points outside of the archive"),
        ({"a/../../out": b"x"}, "points outside"),
        ({"..\\out": b"x"}, "points outside"),
        ({"C:/out": b"x"}, "points outside"),
        ({"/etc/out": b"x"}, "points outside"),
        ({"t.jsonl": ("../../etc/passwd",)}, "t.jsonl"),
        ({"t.jsonl": ("other",), "other": RAW}, "the member 't.jsonl' is no plain file"),
    ],
)
def test_archives_that_try_to_escape(lab, kind, entries, said):
    lab.give("mine/all.pack", packed(kind, {"t.jsonl": RAW, **entries}))
    text = lab.error(lab.benchmark(source=Source("test.jsonl", local="mine/all.pack", member="t.jsonl")))
    assert said in text and list(lab.cache.rglob("*.jsonl")) == []


@pytest.mark.parametrize(
    "data",
    [b"no archive", packed("zip", {"t.jsonl": RAW})[:60], packed("gz", {"t.jsonl": RAW})[:-30], b""],
    ids=["text", "zip", "tar", "empty"],  # the bytes tell the time, and workers must agree on ids
)
def test_broken_archives(lab, data):
    lab.give("mine/all.pack", data)
    assert "all.pack: " in lab.error(lab.benchmark(source=Source("test.jsonl", local="mine/all.pack", member="t.jsonl")))


TABLES = {
    "r.jsonl": b'{"q": "1"}\n\n{"q": "\xc3\xa9"}\n',
    "r.json": b'[{"q": "1"}, {"q": "\xc3\xa9"}]',
    "r.csv": b'\xef\xbb\xbfq\r\n1\r\n"\xc3\xa9"\r\n',
    "r.tsv": b"q\n1\n\xc3\xa9\n",
}


@pytest.mark.parametrize("name", [*TABLES, *(f"{name}.gz" for name in TABLES), "r.parquet"])
def test_tables_need_no_script(lab, name):
    if name == "r.parquet":
        parquet, buffer = pytest.importorskip("pyarrow.parquet"), io.BytesIO()
        parquet.write_table(pytest.importorskip("pyarrow").table({"q": ["1", "é"]}), buffer)
        data = buffer.getvalue()
    else:
        data = gzip.compress(TABLES[name.removesuffix(".gz")]) if name.endswith(".gz") else TABLES[name]
    lab.give(f"mine/{name}", data)
    assert lab.prepare(lab.benchmark(source=Source(name), script=None)).path.read_text() == '{"q": "1"}\n{"q": "é"}\n'


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("r.json", b'{"a": 1}', "r.json: must be a list of rows, not dict; a prepare_script can"),
        ("r.json", b"[1,\n}", "r.json:2: is not JSON"),
        ("r.json", b"[1]", "mine: row 1 from prepare is not a mapping but int"),
        ("r.csv", b"a,b\n1,2\n3\n", "r.csv:3: the line has 1 cells where the first one names 2"),
        ("r.csv", b"a,a\n1,2\n", "r.csv:1: the first line must name the columns"),
        ("r.csv", b'a\n"x\n', "r.csv:2: is not CSV: "),
        ("r.csv", b"a\n\xff\n", "r.csv: is not UTF-8 text"),
        ("r.csv", b"", "mine: prepare gave no rows"),
        ("r.jsonl.gz", b"plain", "r.jsonl.gz: cannot be read: Not a gzipped file"),
        ("r.jsonl.gz", gzip.compress(RAW, mtime=0)[:-12], "r.jsonl.gz: cannot be read: "),
        ("r.parquet", b"PAR", "r.parquet: is not a parquet file that can be read: "),
    ],
)
def test_broken_tables(lab, name, data, said):
    lab.give(f"mine/{name}", data)
    assert said in lab.error(lab.benchmark(source=Source(name), script=None))


def age(path):
    """Make a file older than a moment, for an index to be believed."""
    time.sleep(0.12)
    return path


def test_rows_that_changed_are_counted(lab):
    rows = [b'{"question": "%d"}\n' % number for number in range(5)]
    write(lab.root, {"mine/rows.jsonl": b"".join(rows).decode()})
    path, old = lab.root / "mine/rows.jsonl", sha(b"".join(rows))
    benchmark = lab.benchmark(sources=(), prepare_script=None, sha256=old)
    open_indexed(lab.prepare(benchmark).path, benchmark, lab.cache)
    path.write_bytes(b"".join(rows).replace(b"3", b"4"))
    text = lab.error(benchmark)
    assert f"its sha256 is {sha(path.read_bytes())}, not {old} (1 of 5 rows differ, the first is row 4); if the change is meant" in text
    path.write_bytes(b"".join([*rows[1:], b"{}\n", b"{}\n"]))
    assert "(2 of 5 rows differ, the first is row 1; there are 6 now)" in lab.error(benchmark)
    path.write_bytes(b"".join(reversed(rows)))
    assert "(the same rows in another order or with other spaces)" in lab.error(benchmark)


def test_upstream_changed_and_the_frozen_rows_are_remembered(lab):
    lab.give()
    benchmark = lab.benchmark()
    open_indexed(lab.prepare(benchmark).path, benchmark, lab.cache)
    (lab.cache / "mine/rows.jsonl").unlink()
    lab.give(data=RAW.replace(b"4", b"5"))
    assert f", not {sha(FROZEN)}; 1 of 2 rows differ, the first is row 2): upstream's data or " in lab.error(benchmark)


def test_the_index_is_believed_only_for_the_very_file(lab):
    write(lab.root, {"mine/rows.jsonl": '{"question": "1"}\n'})
    path, benchmark = lab.root / "mine/rows.jsonl", lab.benchmark(sources=(), prepare_script=None)
    open_indexed(path, benchmark, lab.cache)
    assert look(path, benchmark, lab.cache) is None, "written in the moment of reading"
    age(path)
    assert open_indexed(path, benchmark, lab.cache).ids == ["0000"]
    assert look(path, benchmark, lab.cache) == (sha(path.read_bytes()), 1)
    before = path.stat()
    path.write_text('{"question": "2"}\n')
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert look(path, benchmark, lab.cache) is None, "the same size and time of change, as a program can set it"
    assert open_indexed(path, benchmark, lab.cache).task(0)["question"] == "2"
    age(path)
    open_indexed(path, benchmark, lab.cache)
    assert look(path, replace(benchmark, subset="question"), lab.cache) is None, "groups are checked when they are read"
    (index,) = (lab.cache / "@indexes").iterdir()
    index.write_bytes(index.read_bytes()[:-3])
    assert open_indexed(path, benchmark, lab.cache).task(0)["question"] == "2", "a broken index is made anew"
    assert len(open_indexed(path, benchmark, lab.root / "mine/rows.jsonl")) == 1, "a cache that cannot be written is no reason to stop"


def test_the_second_waits_for_the_first(lab):
    lab.give()
    benchmark, started = lab.benchmark(), threading.Event()
    (lab.cache / "mine").mkdir(parents=True)
    with alone(lab.cache / "mine"):

        def run():
            lab.prepare(progress=lambda line: (lab.said.append(line), started.set()))

        second = threading.Thread(target=run)
        second.start()
        assert started.wait(10) and lab.said == ["mine: waiting for another process that prepares it"]
    second.join(10)
    assert is_prepared(benchmark, benchmark.dataset(), lab.cache)


def test_the_command(lab, pytester, monkeypatch):
    rows = {"question": "1", "answer": "1"}
    for name in ("one", "two", "bad"):
        config = f"{name}:\n  prompt_config: {{user: '{{question}}'}}\n  verifier: exact_match\n  datasets:\n    - path: rows.jsonl\n"
        config += "      sources: {r.json: {local: r.json}}\n"
        write(pytester.path, {f"benchmarks/{name}/config.yaml": config.replace("r.json}", "bad.json}") if name == "bad" else config})
    write(pytester.path, {"raw/r.json": json.dumps([rows]), "raw/bad.json": "["})
    monkeypatch.setenv("GYM_SOURCES", "raw")
    result = pytester.runpytest_inprocess("--gym-prepare=one,two,bad")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["one   *1 rows  ????????????  frozen by gym.lock", "two *", "bad: *bad.json:1: is not JSON*", "2 prepared, 1 f*"]
    )
    result.stderr.fnmatch_lines(["bad: FAILED"])
    assert set(json.loads((pytester.path / "gym.lock").read_text())) == {"one", "two"}
    result = pytester.runpytest_inprocess("--gym-prepare=t*,one", "--gym-json")
    assert result.ret == 0
    data = json.loads(result.outlines and "\n".join(result.outlines))
    assert [(one["name"], one["num_rows"], one["frozen"], one["error"]) for one in data] == [
        ("two", 1, "gym.lock", None),
        ("one", 1, "gym.lock", None),
    ]
    assert pytester.runpytest_inprocess("--gym-prepare=tow").ret == 4


def test_prepared_rows_that_are_not_what_was_frozen(lab):
    lab.give()
    pinned = Source("test.jsonl", sha256=sha(RAW))
    text = lab.error(lab.benchmark(source=pinned, sha256="0" * 64))
    assert f"mine: the 2 prepared rows are not those that the config froze (sha256 {sha(FROZEN)}, not {'0' * 64}; " in text
    assert "how many rows differ cannot be told" in text and "the sources are as pinned, so " in text and text.endswith(".py has changed")
    text = lab.error(lab.benchmark(sha256="0" * 64, num_rows=1319))
    assert f"mine: prepared 2 rows where the config froze 1,319 (sha256 {sha(FROZEN)}, not {'0' * 64}; how many" in text
    assert "1,319: upstream's data or " in lab.error(lab.benchmark(num_rows=1319))
    assert not (lab.cache / "mine/rows.jsonl").exists()


def test_the_lock_records_and_then_checks(lab):
    lab.give()
    prepared = lab.prepare()
    assert not prepared.frozen, "frozen by the user, not by the config"
    assert json.loads(lab.lock.read_text()) == {"mine": {"sha256": sha(FROZEN), "num_rows": 2}}
    assert any("recorded in" in said for said in lab.said)
    before = lab.lock.stat()
    lab.prepare(lab.benchmark(name="mine"))
    assert lab.lock.stat().st_mtime_ns == before.st_mtime_ns
    lab.prepare(lab.benchmark("another"), sources=give_as(lab, "another"))
    assert set(json.loads(lab.lock.read_text())) == {"mine", "another"}
    lab.give(data=RAW.replace(b"4", b"5"))
    text = lab.error(cache=lab.root / "empty")
    assert f"mine: the 2 prepared rows are not those that {lab.lock} froze" in text
    lab.give(data=RAW.splitlines(keepends=True)[0])
    assert f"mine: prepared 1 rows where {lab.lock} froze 2" in lab.error(cache=lab.root / "empty")


def give_as(lab, name):
    lab.give(f"{name}/test.jsonl")
    return lab.sources


def test_the_lock_is_written_also_when_the_cache_has_the_file(lab):
    lab.give()
    lab.prepare(lock=None)
    assert not lab.lock.exists()
    lab.prepare()
    assert "mine" in json.loads(lab.lock.read_text())


def test_without_any_freeze_another_script_means_other_rows(lab):
    lab.give()
    lab.prepare(lock=None)
    other = SCRIPT.replace('row["q"]', 'row["q"] + "?"')
    assert b"1+1?" in lab.prepare(lab.benchmark(script=other), lock=None).path.read_bytes()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "gym.lock:1: is not JSON ("),
        ("[]", "gym.lock: the file must be {sha256, num_rows}"),
        ('{"mine": 3}', "gym.lock: mine must be {sha256, num_rows}; restore the file from version control, or delete it"),
    ],
)
def test_a_broken_lock(lab, text, said):
    lab.give()
    lab.lock.write_text(text)
    assert said in lab.error()


def test_a_lock_that_cannot_be_written_is_said(lab):
    lab.give()
    (lab.root / "file").write_text("")
    assert lab.prepare(lock=lab.root / "file/gym.lock").num_rows == 2
    assert any("mine: cannot be recorded in" in said for said in lab.said)


def test_a_cache_that_cannot_be_written(lab):
    lab.give()
    (lab.root / "file").write_text("")
    assert "mine: cannot be prepared: " in lab.error(cache=lab.root / "file/cache")


def test_is_prepared_only_looks(lab):
    lab.give()
    benchmark = lab.benchmark()
    assert not is_prepared(benchmark, benchmark.dataset(), lab.cache)
    lab.prepare(benchmark)
    assert is_prepared(benchmark, benchmark.dataset(), lab.cache)
    assert cached_path(benchmark, benchmark.dataset(), lab.cache) == lab.cache / "mine/rows.jsonl"
    write(lab.root, {"mine/rows.jsonl": "{}"})
    assert is_prepared(benchmark, benchmark.dataset(), lab.root / "nowhere")


def test_the_example_split_needs_no_sources(lab):
    write(lab.root, {"mine/data/example.jsonl": '{"question": "x"}\n'})
    benchmark = lab.benchmark()
    spec = benchmark.dataset("example")
    prepared = prepare(benchmark, spec, cache=lab.cache, sources=None, lock=lab.lock, progress=lab.said.append)
    assert (prepared.num_rows, lab.lock.exists()) == (1, False)


PROGRAM = """
import json, sys
from pathlib import Path
from pytest_gym.benchmark import Benchmark
from pytest_gym.prepare import prepare

benchmark = Benchmark.from_json(json.loads(sys.argv[1]))
cache, sources, lock = map(Path, sys.argv[2:])
print(prepare(benchmark, benchmark.dataset(), cache=cache, sources=sources, lock=lock, progress=lambda said: None).sha256)
"""


def test_many_processes_at_once(lab, server):
    server.replies["/raw"] = (200, {}, RAW)
    lab.sources.mkdir()
    names = [f"bench{number % 3}" for number in range(6)]
    commands = [
        [sys.executable, "-c", PROGRAM, json.dumps(lab.benchmark(name, Source("test.jsonl", url=server.url + "/raw")).to_json()),
         str(lab.cache), str(lab.sources), str(lab.lock)]
        for name in names
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) for command in commands]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out.strip()) == (0, sha(FROZEN)), err
    assert set(json.loads(lab.lock.read_text())) == set(names), "nobody's entry is lost"
    assert len(server.requests) == 1, "who comes second waits, and uses what the first has fetched"
    assert list(lab.root.rglob("*.part")) == []


def test_a_data_error_is_a_gym_error():
    assert issubclass(DataError, GymError)
