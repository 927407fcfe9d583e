"""load_python: the source of a generated module is there while the module lives, and gone afterwards."""

import gc
import inspect
import linecache
import sys
import sysconfig
import traceback

import pytest

from gradsmith_runtime import load_python

never_freed = pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")) and sys.version_info < (3, 14),
    reason="without a GIL, Python 3.13 keeps all functions once a second thread has run",
)

SOURCE = '"""Generated."""\nimport math\n\ndef f(x):\n    y = x - 1.0\n    return math.log(y)\n'


def test_module_works_and_shows_its_source():
    module = load_python(SOURCE, "f")
    assert module.__name__ == "f"
    assert module.__doc__ == "Generated."
    assert module.f(2.0) == 0.0
    assert inspect.getsource(module.f) == "def f(x):\n    y = x - 1.0\n    return math.log(y)\n"
    assert inspect.getsource(module) == SOURCE


def test_traceback_shows_the_generated_line_even_after_checkcache():
    module = load_python(SOURCE, "f")
    linecache.checkcache()
    with pytest.raises(ValueError) as caught:
        module.f(0.0)
    text = "".join(traceback.format_exception(caught.value))
    assert "return math.log(y)" in text
    assert f'File "{module.__file__}", line 6, in f' in text


def test_a_name_that_shadows_a_real_module_does_no_harm():
    module = load_python("def f():\n    return 1\n", "json")
    assert inspect.getsource(module.f) == "def f():\n    return 1\n"
    import json

    assert json.dumps(1) == "1"


def test_equal_texts_get_names_of_their_own():
    first, second = load_python(SOURCE, "f"), load_python(SOURCE, "f")
    name = second.__file__
    assert first.__file__ != name
    del first
    gc.collect()
    assert linecache.getline(name, 4) == "def f(x):\n"


@never_freed
def test_source_is_forgotten_with_the_last_function_not_with_the_module():
    module = load_python(SOURCE, "f")
    name, function = module.__file__, module.f
    del module
    gc.collect()
    assert linecache.getline(name, 4) == "def f(x):\n"  # the function still needs it
    assert function(2.0) == 0.0
    del function
    gc.collect()
    assert name not in linecache.cache


def test_the_future_flags_of_this_package_do_not_leak_into_generated_code():
    assert load_python("def f(x: int): ...", "f").f.__annotations__ == {"x": int}


@never_freed
def test_syntax_error_points_into_the_text_and_leaves_nothing_behind():
    gc.collect()
    before = {name for name in linecache.cache if name.startswith("<gradsmith")}
    with pytest.raises(SyntaxError) as caught:
        load_python("x = = 1\n", "bad")
    assert caught.value.text == "x = = 1\n"
    del caught
    gc.collect()
    assert {name for name in linecache.cache if name.startswith("<gradsmith")} == before
