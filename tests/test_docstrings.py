"""The docstrings of public names: each says what it must, by the rules at the top of `tests/docstrings.py`."""

from __future__ import annotations

import ast
import unittest

import syncws

from .definitions import Source
from .docstrings import faults
from .test_reference import public_names


class DocstringsTests(unittest.TestCase):
    def test_nothing_is_missing(self) -> None:
        """Parameters, units, results, exceptions and threads are described, of everything that users may import."""
        for full, (module, name) in sorted(public_names().items()):
            if module.partition(".")[0] != "syncws":
                for fault in faults(Source.of(module), name):
                    with self.subTest(full):
                        self.fail(f"{fault}  (the rules: tests/docstrings.py)")

    def test_names_are_found(self) -> None:
        """The check looks at the classes and functions themselves; else the test above would prove nothing."""
        found = {name for name, (module, own) in public_names().items() if Source.of(module).find(own) is not None}
        self.assertLessEqual({"syncws.Conn", "syncws.dial", "syncws.Transport", "syncws.flask.Sock"}, found)
        classes = {f"syncws.{name}" for name in syncws.__all__ if isinstance(getattr(syncws, name), type)}
        self.assertLessEqual(classes, found)


def _faults(source: str, name: str = "it") -> list[str]:
    """What is missing in a source text that stands alone."""
    return list(faults(Source("alone", ast.parse(source)), name))


class RulesTests(unittest.TestCase):
    """The check finds what it must, and nothing else."""

    def check(self, source: str, *expected: str) -> None:
        self.assertEqual(_faults(source), list(expected))

    def test_no_docstring(self) -> None:
        """A function, a class and a method need one; a method of Python's and a private one do not."""
        self.check("def it(): ...", "it has no docstring")
        self.check("class it: ...", "it has no docstring")
        methods = "def a(self): ...\n    def _b(self): ...\n    def __len__(self): ..."
        self.check(f'class it:\n    """One thread uses it."""\n    {methods}', "it.a has no docstring")

    def test_inherited_docstring(self) -> None:
        """A method that a base describes need not say it again."""
        base = 'class Base:\n    """Any thread."""\n    def a(self):\n        """Go."""\n'
        self.check(f'{base}class it(Base):\n    """Any thread."""\n    def a(self): ...')
        self.check(
            f'class Base: ...\n{base}class it(list):\n    """Any thread."""\n    def a(self): ...',
            "it.a has no docstring",
        )

    def test_parameter_in_the_text(self) -> None:
        """Up to three parameters may be named in the text, as words."""
        self.check('def it(path, mode):\n    """Open path, as mode says."""')
        self.check('def it(path, mode):\n    """Open a path."""', "it: mode is not described")
        self.check('def it(a, b, c, d):\n    """Do a, b, c, d."""', "it has no section Args")

    def test_parameter_in_args(self) -> None:
        """A section Args has all parameters, also two in one line, and no other."""
        self.check('def it(a, *, b, **c):\n    """Go.\n\n    Args:\n        a, b: these.\n        c: those.\n    """')
        self.check('def it(a, b):\n    """Go by b.\n\n    Args:\n        a: this.\n    """', "it: b is not described")
        self.check(
            'def it(a):\n    """Go.\n\n    Args:\n        a: this.\n        z: gone.\n    """', "it has no parameter z"
        )

    def test_keywords(self) -> None:
        """The keys of a TypedDict that is unpacked may be described in place of it."""
        keywords = "class K(TypedDict):\n    a: int\nclass L(K):\n    b: int\n"
        described = '    """Go.\n\n    Args:\n        o: these.\n        a, b: those.\n    """'
        self.check(f"{keywords}def it(**o: Unpack[L]):\n{described}")

    def test_parameters_of_a_class(self) -> None:
        """Those of __init__, or the fields of a dataclass; none where the docstring says who makes it."""
        init = "    def __init__(self, a, _b=1): ..."
        self.check(f'class it:\n    """Any thread."""\n{init}', "it: a is not described")
        self.check(f'class it:\n    """For any thread, made by `other`."""\n{init}')
        self.check('@dataclass(frozen=True)\nclass it:\n    """A point."""\n    x: int', "it: x is not described")
        described = '    """A point.\n\n    Attributes:\n        x: where.\n    """\n'
        self.check(f"@dataclass(frozen=True)\nclass it:\n{described}    x: int")

    def test_units_of_times(self) -> None:
        """A float is seconds, or an instant, and says so: of a parameter, a field and a property."""
        self.check('def it(wait: float):\n    """Go after wait."""', "it: wait is a float: are these seconds?")
        self.check('def it(wait: float | None):\n    """Go after wait seconds."""')
        self.check('def it(until: float):\n    """Go on until an instant of time.monotonic()."""')
        self.check('def it(key: Callable[[float], str]):\n    """Go by key."""')
        late = "    @property\n    def late(self) -> float:\n        'How late it is.'"
        late = f'class it:\n    """Any thread."""\n{late}'
        self.check(late, "it.late is a float: are these seconds?")

    def test_units_of_sizes(self) -> None:
        """An integer that is a size by its name says of what."""
        self.check('def it(size: int):\n    """Read size."""', "it: size is a size: of what?")
        self.check('def it(size: int):\n    """Read size bytes."""')
        self.check('def it(port: int):\n    """Open port."""')

    def test_result(self) -> None:
        """What is returned is said, by the first words or by a verb."""
        self.check('def it() -> int:\n    """Count them."""', "it: what does it return?")
        for text in (
            "Count them; returns how many.",
            "The count.",
            "Whether there are some.",
            "Count; whether it could.",
        ):
            self.check(f'def it() -> int:\n    """{text}"""')
        self.check('def it() -> None:\n    """Count them."""')

    def test_exceptions(self) -> None:
        """What is raised is named, or a base of it; not what is caught again, and not what an inner function raises."""
        body = "\n    raise ReadTimeout('late')"
        self.check(f'def it():\n    """Go."""{body}', "it raises ReadTimeout, and does not say so")
        self.check(f'def it():\n    """Go. Raises ReadTimeout."""{body}')
        self.check(f'def it():\n    """Go. Raises TimeoutError."""{body}')
        caught = "    try:\n        raise KeyError(1)\n    except LookupError:\n        pass"
        self.check(f'def it():\n    """Go."""\n{caught}')
        self.check('def it():\n    """Go."""\n    def inner():\n        raise KeyError(1)')
        self.check('def it():\n    """Go."""\n    raise NotImplementedError')

    def test_exceptions_of_checks(self) -> None:
        """What a function check_... raises is raised by who calls it, a method of the same class as well."""
        check = "def check_it(a):\n    raise TypeError(a)\n"
        self.check(
            f'{check}def it(a):\n    """Go by a."""\n    check_it(a)', "it raises TypeError, and does not say so"
        )
        own = "    def go(self):\n        'Go.'\n        self._check_it()\n"
        own += "    def _check_it(self):\n        raise ValueError(1)"
        self.check(f'class it:\n    """Any thread."""\n{own}', "it.go raises ValueError, and does not say so")

    def test_exceptions_of_a_class(self) -> None:
        """What making an object raises is said by its class."""
        init = "    def __init__(self):\n        raise OSError(1)"
        self.check(f'class it:\n    """Any thread."""\n{init}', "it raises OSError, and does not say so")
        self.check(f'class it:\n    """Any thread. Raises OSError."""\n{init}')

    def test_threads(self) -> None:
        """A class says which threads may use it; an exception, a tuple and a frozen dataclass need not."""
        self.check('class it:\n    """A thing."""', "it: which threads may use it?")
        for words in ("For any thread.", "Immutable.", "Concurrency: one at a time."):
            self.check(f'class it:\n    """A thing. {words}"""')
        for base in ("Exception", "OSError", "NamedTuple", "TestCase"):
            self.check(f'class it({base}):\n    """A thing."""')
        self.check('@dataclass(frozen=True)\nclass it:\n    """A thing."""')

    def test_pointing_elsewhere(self) -> None:
        """What another docstring says need not be said again where this one points to it."""
        other = 'def other(a: float):\n    """Go.\n\n    Args:\n        a: seconds.\n\n    Raises OSError.\n    """\n'
        body = "\n    raise OSError(a)"
        self.check(f'{other}def it(a: float):\n    """Arguments and errors are as of `other`."""{body}')
        self.check(
            f'{other}def it(a: float):\n    """As `another`."""{body}',
            "it: a is not described",
            "it: a is a float: are these seconds?",
            "it raises OSError, and does not say so",
        )


if __name__ == "__main__":
    unittest.main()
