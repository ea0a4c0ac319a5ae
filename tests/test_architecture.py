"""The house rules: who may import whom, and what an unused plugin costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pytest_gym"
PYTEST_SIDE = {
    "plugin", "options", "hookspecs", "configure", "arguments", "session", "cases", "fixtures", "reports", "gate_tests", "state", "remote",
    "workers",
    "display", "commands", "testing", "progress", "opening", "restore", "local", "manifest",
}  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path, *, top_only: bool = False) -> set[str]:
    """The modules that a file imports, also inside functions, but not for type checking alone."""
    found: set[str] = set()

    def walk(node: ast.AST, depth: int) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.update([child.module, *(f"{child.module}.{alias.name}" for alias in child.names)])
            elif top_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            walk(child, depth + 1)

    walk(ast.parse(path.read_text()), 0)
    return found


def ours(path: Path, **options: bool) -> set[str]:
    names = {name.removeprefix("pytest_gym.").split(".")[0] for name in imports(path, **options) if name.startswith("pytest_gym.")}
    return names - {"__version__"}


@pytest.mark.parametrize("path", [path for path in FILES if module_of(path).split(".")[0] not in PYTEST_SIDE], ids=module_of)
def test_the_core_never_imports_the_pytest_side(path):
    assert not {name for name in imports(path) if name.split(".")[0] in ("pytest", "_pytest", "xdist", "execnet")}
    assert not ours(path) & PYTEST_SIDE


def test_the_core_can_be_imported_without_pytest_http_and_scipy():
    core = [f"pytest_gym.{module_of(path)}" for path in FILES if module_of(path) and module_of(path).split(".")[0] not in PYTEST_SIDE]
    core = [name for name in core if not name.startswith(("pytest_gym.model.client", "pytest_gym.model.handle", "pytest_gym.engine"))]
    code = "import sys\nfor name in ('pytest', '_pytest', 'httpx', 'scipy', 'aiohttp'): sys.modules[name] = None\n"
    code += "".join(f"import {name}\n" for name in core)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("name", ["records", "errors"])
def test_leaves_import_nothing_of_ours(name):
    assert not ours(PACKAGE / f"{name}.py")


@pytest.mark.parametrize("name", ["metrics", "intervals", "votes", "outcomes", "hints"])
def test_metrics_know_no_files(name):
    source = (PACKAGE / f"{name}.py").read_text()
    assert not imports(PACKAGE / f"{name}.py") & {"os", "io", "pathlib", "json", "shutil"}
    assert "open(" not in source


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("verifiers/*.py")) + sorted(PACKAGE.glob("harnesses/[!_]*.py")), ids=lambda path: path.stem
)
def test_verifiers_and_harnesses_use_public_names_only(path):
    import pytest_gym
    from pytest_gym.fingerprint import FOR_VERIFIERS

    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pytest_gym"):
            assert node.module in ("pytest_gym", *(f"pytest_gym.{name}" for name in FOR_VERIFIERS)), node.module
            if node.module == "pytest_gym":
                assert {alias.name for alias in node.names} <= set(pytest_gym.__all__)
    assert not {name for name in imports(path) if name.split(".")[0] in ("pytest", "_pytest", "httpx")}


@pytest.mark.parametrize("name", ["conftest", "tests/conftest", "tests/endpoint"])
def test_a_clone_without_the_tests_packages_runs_benchmarks(name):
    """Pytest loads these in every session in a clone; the README's first command installs nothing for tests."""
    needed = {"hypothesis", "jsonschema", "statsmodels", "hatchling", "pytest_rerunfailures"}
    assert not needed & {found.split(".")[0] for found in imports(ROOT / f"{name}.py", top_only=True)}


def test_every_public_name_is_there():
    import pytest_gym

    for name in pytest_gym.__all__:
        assert getattr(pytest_gym, name)
    with pytest.raises(AttributeError, match="no_such_name"):
        pytest_gym.no_such_name  # noqa: B018


def test_options_and_their_declaration_agree():
    from dataclasses import fields

    from pytest_gym.options import DECLARED, Options

    assert {option.name for option in DECLARED} | {"cases"} == {item.name for item in fields(Options)}


def test_an_unused_plugin_imports_next_to_nothing(tmp_path):
    code = (
        "import json, sys, pytest\n"
        "before = set(sys.modules)\n"
        "others = ('cacheprovider', 'anyio', 'hypothesispytest', 'platformdirs')\n"
        "code = pytest.main(['--co', '-q', *(f'-pno:{name}' for name in others)])\n"
        "print(json.dumps([int(code), sorted(set(sys.modules) - before)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    code_, loaded = json.loads(done.stdout.splitlines()[-1])
    assert code_ == 5
    assert {name for name in loaded if name.startswith("pytest_gym")} == {
        "pytest_gym",
        "pytest_gym.plugin",
        "pytest_gym.options",
        "pytest_gym.hookspecs",
    }
    assert not {"yaml", "asyncio", "numpy", "httpx", "concurrent.futures", "scipy"} & set(loaded)


def test_a_worker_loads_neither_engine_nor_http_nor_numpy():
    code = "import sys, pytest_gym.remote, pytest_gym.configure\n"
    code += "print([n for n in ('httpx', 'numpy', 'asyncio', 'pytest_gym.engine') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES + sorted(ROOT.glob("verifiers/*.py")), ids=lambda path: path.stem)
def test_every_module_says_what_it_is_for_and_is_short(path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "no module docstring"
    assert len(text.splitlines()) <= 450
