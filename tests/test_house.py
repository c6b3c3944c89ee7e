"""House rules that linters do not know: the shape of stage scripts, no broad excepts, no print, no assert in src."""

import ast

import pytest
from import_graph import is_empty, modules, tree

SOURCES = sorted(name for name in modules() if name.startswith("thalweg"))
SCRIPTS = sorted(name for name in modules() if name.startswith("stages."))
LOOPS = (ast.For, ast.While, ast.AsyncFor, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_stage_scripts_are_short_and_only_call(name):
    body = tree(modules()[name])
    assert len(modules()[name].read_text().splitlines()) <= 60
    assert not [ast.unparse(node) for node in ast.walk(body) if isinstance(node, LOOPS)]
    arithmetic = [node for node in ast.walk(body) if isinstance(node, (ast.BinOp, ast.AugAssign))]
    assert not [ast.unparse(node) for node in arithmetic]
    functions = [node.name for node in body.body if isinstance(node, ast.FunctionDef)]
    assert functions == ["main"]
    assert ast.unparse(body.body[-1]).split() == ["if", "__name__", "==", "'__main__':", "stage.run(main)"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_docstring_of_main_is_the_help(name):
    main = next(node for node in tree(modules()[name]).body if isinstance(node, ast.FunctionDef))
    assert len(ast.get_docstring(main) or "") > 40


@pytest.mark.parametrize("name", SOURCES)
def test_house_rules(name):
    faults = []
    for node in ast.walk(tree(modules()[name])):
        if isinstance(node, ast.ExceptHandler):
            caught = "" if node.type is None else ast.unparse(node.type)
            if caught in ("", "Exception", "BaseException"):
                faults.append(f"line {node.lineno}: catches {caught or 'everything'}")
        elif isinstance(node, ast.Assert):
            faults.append(f"line {node.lineno}: assert")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            faults.append(f"line {node.lineno}: print")
    assert not faults


@pytest.mark.parametrize("name", SOURCES)
def test_modules_say_what_they_are(name):
    assert ast.get_docstring(tree(modules()[name]))


def test_there_is_no_drawer():
    assert not [name for name in modules() if DRAWERS & set(name.split("."))]


def test_errors_inherit_the_builtin_that_they_refine():
    from thalweg import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ThalwegError)]
    for kind in kinds:
        builtins = [base for base in kind.__mro__ if base.__module__ == "builtins"]
        assert kind is errors.ThalwegError or builtins[0] is not Exception, kind


def test_rooms_of_files_found_by_name_hold_nothing_else():
    for room in ("sources", "models", "losses", "active.scores", "pretrain.methods", "reducers"):
        for name in modules():
            if name.startswith(f"thalweg.{room}.") and not is_empty(name):
                body = tree(modules()[name]).body
                assert any(isinstance(node, ast.FunctionDef) for node in body), name
