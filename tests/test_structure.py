"""What the code's structure promises: which module knows which, how long it is, and what it may not do.

Everything is read from the source, so that an import inside a function or for a type checker counts too.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "streams").rglob("*.py"))
}
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

#: The rooms in the order of their imports: each imports rooms of earlier tiers only, and those of one
#: tier are strangers to each other.
TIERS = (
    ("messages", "delivery", "authentication"),
    ("lookup",),
    ("actions", "settings"),
    ("kafka",),
    ("native",),
    ("statuses", "startup"),
    ("observability",),
    ("commands", "app"),
    ("sandbox",),
    ("__main__",),
)
TIER = {room: number for number, rooms in enumerate(TIERS) for room in rooms}
#: Neither imports another of these, whatever its tier.
STRANGERS = {"delivery", "lookup", "kafka"}
#: What the worker never needs: commands for people, and what they run on.
TOOLS = (
    "streams.__main__",
    "streams.commands.audit",
    "streams.commands.breaker",
    "streams.commands.check",
    "streams.commands.dead_letters",
    "streams.commands.decide",
    "streams.commands.supporter",
    "streams.commands.top",
    "streams.commands.trace",
    "streams.sandbox",
    "streams.sandbox.demo",
    "streams.commands.doctor",
    "streams.sandbox.drill",
    "streams.sandbox.kafka",
    "streams.commands.feeder",
    "streams.commands.lookup",
)

LONGEST = 350
#: Longer ones, with the reason.
LONG = {
    "streams.delivery.lane": "one state machine, whose states all its methods share",
}

#: Modules of the worker without a test file of the same name, with the reason.
TESTED_ELSEWHERE = {
    "streams.settings.fields": "test_table and test_values read every field made with it",
    "streams.settings.kafka_table": "is a part of the table; test_connection reads it",
    "streams.app": "is the worker that tests/integration runs",
    "streams.actions.outcomes": "types, and how an email is counted, which test_processor asserts",
    "streams.lookup.observer": "types only",
    "streams.kafka.faust_options": "tests/integration runs workers with them",
    "streams.commands.worker": "is the command that tests/integration runs",
    "streams.delivery.transaction": "is a port: a protocol and its values",
    "streams.delivery.lane_state": "types only",
    "streams.delivery.results": "types only",
    "streams.delivery.fetched": "types only",
    "streams.delivery.transaction_failures": "test_kafka_transaction has brokers fail in each way",
    "streams.delivery.refusals": "test_lane has records and dead letters refused",
    "streams.observability.faust_app": "tests/integration runs workers with it",
    "streams.lookup.response": "test_client sends it bodies over real sockets",
    "streams.lookup.causes": "test_client makes every cause happen",
    "streams.lookup.flight": "test_organisation asks, joins and cancels with it",
    "streams.lookup.dns": "test_client_connections resolves names with it",
    "streams.settings.organisation_keys": "test_organisations reads every key",
    "streams.kafka.connection_check": "tests/security asks a real broker with every mistake",
    "streams.kafka.authorization": "tests/security asks a real broker without each right",
    "streams.kafka.faust_driver": "its consumer and producer have test files of their own",
    "streams.statuses.rocks_rows": "test_rocksdb reads damaged rows with it",
    "streams.statuses.store_owner": "test_rocksdb gives stores to other owners",
    "streams.statuses.store_trouble": "test_rocksdb has stores of every trouble",
    "streams.kafka.compressed_batches": "test_record_batches and test_fetches read batches of every codec",
    "streams.kafka.consumer_thread": "test_consumer reads real topics with it",
}

#: Boolean parameters of the worker's functions, with the reason why each is a value and no mode.
BOOLEANS = {
    "streams.actions.decision.decide(subscribed)": "what the table knows",
    "streams.actions.decision.decide(in_message)": "what the message says",
    "streams.authentication.sessions.send(expect_response)": "of aiokafka, whose method it overrides",
    "streams.delivery.transaction_wire.end(commit)": "a field of the request",
    "streams.kafka.sending.send_watched(expect_response)": "of aiokafka, which it replaces",
    "streams.native.status_index.put(rows)": "what the table says",
    "streams.lookup.breaker.add(failed)": "how one exchange ended, as it is counted",
    "streams.lookup.http.__init__(only_fresh)": "what one attempt demands of its connection",
}

FORBIDDEN_NAMES = {
    "utils",
    "util",
    "manager",
    "helper",
    "helpers",
    "handler",
    "handlers",
    "data",
    "common",
    "misc",
}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text())


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@cache
def imports(module: str) -> frozenset[str]:
    """The modules that a module imports anywhere in its text, ours by their full names."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            assert node.module is not None
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in SOURCES else node.module for name in names}
    return frozenset(found)


def ours(module: str) -> frozenset[str]:
    return frozenset(name for name in imports(module) if within(name, "streams"))


def reachable(*modules: str) -> set[str]:
    """These modules and all that they import, directly or not; importing a.b runs a too."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in SOURCES and module not in found:
            found.add(module)
            waiting += [*ours(module), module.rpartition(".")[0]]
    return found


WORKER = ("streams.app", "streams.commands.worker")


def test_there_is_something_to_look_at() -> None:
    """The sources are found, and so are imports that stand inside functions."""
    assert len(SOURCES) > 50
    assert "streams.delivery.results" in imports("streams.actions.processor")
    assert "streams.delivery.starting" in imports("streams.commands.start_at")


def room_of(module: str) -> str:
    return module.split(".")[1]


def test_imports_point_one_way() -> None:
    """Every module lies in a room of the list, and imports its own room and rooms of earlier tiers only."""
    rooms = {room_of(module) for module in SOURCES if module != "streams"}
    assert rooms == TIER.keys()
    wrong = {
        (module, name)
        for module in SOURCES.keys() - {"streams"}
        for name in ours(module)
        if (here := room_of(module)) != (there := room_of(name))
        and (TIER[there] >= TIER[here] or {here, there} <= STRANGERS)
    }
    assert wrong == set()


def test_the_root_holds_the_composition_and_nothing_else() -> None:
    """Three modules stand in streams/ itself; everything else has its room."""
    assert {path.name for path in (ROOT / "streams").glob("*.py")} == {
        "__init__.py",
        "__main__.py",
        "app.py",
        "startup.py",
    }


def test_decoding_needs_the_strict_json_reader_and_nothing_else() -> None:
    """At the bottom there is nothing below."""
    assert reachable("streams.messages.decode") == {
        "streams",
        "streams.messages",
        "streams.messages.decode",
        "streams.messages.no_letter",
        "streams.messages.strict_json",
    }


@pytest.mark.parametrize(
    "module",
    [
        "streams.actions.decision",
        "streams.statuses.row",
        "streams.actions.dead_letter",
        "streams.messages.keys",
    ],
)
def test_policy_is_pure(module: str) -> None:
    """What decides takes values and returns values: no clock, no logging, no Kafka, no event loop."""
    assert not {"asyncio", "time", "logging", "random", "os", "aiokafka", "faust", "httpx"} & imports(module)
    values = {"streams.messages.decode", "streams.messages.unreadable", "streams.delivery.transaction"}
    assert ours(module) <= values


def test_prometheus_is_known_to_what_exposes_metrics_only() -> None:
    """The core counts in plain values."""
    assert {
        module for module in SOURCES if any(within(name, "prometheus_client") for name in imports(module))
    } == {"streams.commands.audit.metrics_file", "streams.observability.metrics", "streams.observability.web"}


def test_kafka_s_clients_are_not_known_to_policy_or_lookups() -> None:
    """Lookups know HTTP and no Kafka; delivery's rules and messages know neither."""
    for module in SOURCES:
        if within(
            module,
            "streams.lookup",
            "streams.messages",
            "streams.delivery.lane",
        ):
            assert not any(within(name, "aiokafka", "faust") for name in imports(module)), module
        if within(module, "streams.delivery", "streams.kafka", "streams.messages"):
            assert not any(within(name, "httpx", "aiohttp") for name in imports(module)), module


def test_nobody_imports_the_composition_root() -> None:
    """Nobody needs streams.app: only the worker's command names it, for Faust to load."""
    assert {module for module in SOURCES if "streams.app" in imports(module)} == set()
    naming = {module for module, path in SOURCES.items() if '"streams.app"' in path.read_text()}
    assert naming == {"streams.commands.worker"}


def test_importing_a_module_starts_reads_and_connects_nothing() -> None:
    """All modules are imported in a process without network, threads, settings or open files of its own."""
    names = sorted(name for name in SOURCES if not name.endswith("__main__"))
    code = f"""
import os, socket, sys, threading
before = set(os.listdir("/proc/self/fd"))
def refuse(*_, **__): raise AssertionError("a module connects when it is imported")
socket.socket.connect = refuse
os.environ["STREAMS_NO_SUCH_SETTING"] = "would stop whoever loads the settings"
for name in {names!r}: __import__(name)
assert threading.active_count() == 1, threading.enumerate()
assert set(os.listdir("/proc/self/fd")) <= before, "a module leaves a file open"
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_worker_needs_none_of_the_tools() -> None:
    """Nothing that the worker imports, directly or not, belongs to demo, drill, audit or embedded Kafka."""
    assert {module for module in reachable(*WORKER) if within(module, *TOOLS)} == set()


def test_no_module_imports_itself_through_others() -> None:
    """Imports have one direction: there is no circle."""
    circles = {
        module
        for module in SOURCES
        if any(module in reachable(name) for name in ours(module) if name != module)
        # A package whose __init__ names its own parts is one thing.
        and SOURCES[module].name != "__init__.py"
        and module.rpartition(".")[0] not in {package for package in SOURCES if _gathers(package)}
    }
    assert circles == set()


def _gathers(package: str) -> bool:
    return SOURCES[package].name == "__init__.py" and any(within(name, package) for name in ours(package))


def test_every_module_has_its_tests() -> None:
    """streams/lookup/organisation.py is tested by tests/lookup/test_organisation.py, and so on."""
    missing = set()
    for module in reachable(*WORKER):
        path = SOURCES[module]
        if path.name == "__init__.py" and len(tree(module).body) <= 1:
            continue  # empty, or a docstring
        mirror = (
            ROOT / "tests" / path.relative_to(ROOT / "streams").with_name(f"test_{path.stem.strip('_')}.py")
        )
        if not mirror.exists():
            missing.add(module)
    assert missing - TESTED_ELSEWHERE.keys() == set()
    for tool in TOOLS:
        tests = ROOT / "tests" / tool.removeprefix("streams.").strip("_").replace(".", "/")
        own = tests.with_name(f"test_{tests.name}.py")
        assert own.exists() or list(tests.glob("test_*.py")), f"{tool} has no tests"


def test_modules_fit_on_a_few_screens() -> None:
    """No module grows beyond what can be read in one go, but for those with a reason."""
    lengths = {module: len(path.read_text().splitlines()) for module, path in SOURCES.items()}
    long = {module for module, length in lengths.items() if length > LONGEST}
    assert long - LONG.keys() == set()
    assert max(lengths.values()) < 1.25 * LONGEST
    assert LONG.keys() - long == set(), "are short by now"


def test_names_say_what_a_module_is_about() -> None:
    """No module is named after what it is not about."""
    assert {
        module
        for module in SOURCES
        if FORBIDDEN_NAMES & set(re.split(r"[._]", module.removeprefix("streams.")))
    } == set()


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(module: str) -> Iterator[Function]:
    for node in ast.walk(tree(module)):
        if isinstance(node, Function):
            yield node


def test_no_function_has_two_modes() -> None:
    """A boolean parameter is a mode flag unless there is a reason why it is a value; commands have flags."""
    found = set()
    for module in reachable(*WORKER):
        for function in functions(module):
            arguments = function.args
            for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
                annotation = "" if argument.annotation is None else ast.unparse(argument.annotation)
                if re.search(r"\bbool\b", annotation) and "Callable" not in annotation:
                    found.add(f"{module}.{function.name}({argument.arg})")
    assert found - BOOLEANS.keys() == set()
    assert BOOLEANS.keys() - found == set(), "are gone by now"


def calls(module: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            yield node


def test_no_traceback_is_logged() -> None:
    """A traceback or an exception's text can quote an address: its class is what the core logs."""
    wrong = set()
    for module in reachable(*WORKER):
        for call in calls(module):
            method = ast.unparse(call.func)
            if re.match(r"(log|logger|logging)\.", method) and (
                method.endswith(".exception") or any(word.arg == "exc_info" for word in call.keywords)
            ):
                wrong.add(f"{module}:{call.lineno}")
    assert wrong == set()


def test_every_exemption_has_its_reason() -> None:
    """Each noqa and each type: ignore in the sources says why, on its line."""
    silent = set()
    for module, path in SOURCES.items():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            bare = re.search(r"# noqa: [A-Z0-9, ]+$|# noqa$|# type: ignore(\[[^\]]*\])?$", line)
            if bare is not None:
                silent.add(f"{module}:{number}")
    assert silent == set()


def test_every_test_says_what_it_shows() -> None:
    """Each test has a docstring: one sentence of behaviour."""
    silent = set()
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, Function) and node.name.startswith("test_") and not ast.get_docstring(node):
                silent.add(f"{path.relative_to(ROOT)}:{node.name}")
    assert silent == set()
