"""Preparing: what is used as it is, GYM_SOURCES, real HTTP on loopback, scripts that misbehave, the freeze, many processes at once."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_gym import fetch
from pytest_gym.benchmark import DatasetSpec, Source
from pytest_gym.errors import DataError, GymError
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
    assert f"{lab.sources}/mine/test.jsonl:2: mine: the line is not JSON" in lab.error(lab.benchmark(script=None), cache=lab.root / "other")


def test_prepared_rows_that_are_not_what_was_frozen(lab):
    lab.give()
    pinned = Source("test.jsonl", sha256=sha(RAW))
    text = lab.error(lab.benchmark(source=pinned, sha256="0" * 64))
    assert f"mine: the 2 prepared rows are not those that the config froze (sha256 {sha(FROZEN)}, not {'0' * 64}): " in text
    assert "the sources are as pinned, so " in text and text.endswith(".py has changed")
    text = lab.error(lab.benchmark(sha256="0" * 64, num_rows=1319))
    assert "mine: prepared 2 rows where the config froze 1,319: upstream's data or " in text
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
    assert list(lab.root.rglob("*.part")) == []


def test_a_data_error_is_a_gym_error():
    assert issubclass(DataError, GymError)
