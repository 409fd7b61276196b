"""copies.py: an exception that was kept is raised as a copy, of whatever class it is."""

from __future__ import annotations

import gc
import os
import unittest
import weakref

from syncws._base.copies import copy_of, forget_frames


class Strange(Exception):
    """Its __init__ takes other arguments than it passes on, so that copy.copy fails."""

    def __init__(self, code: int, *, why: str) -> None:
        super().__init__(f"{code} {why}")
        self.code = code


class Defaulted(Exception):
    """Its __init__ takes its message for something else when it is called with args alone."""

    calls = 0

    def __init__(self, code: int, message: str = "failed") -> None:
        super().__init__(message)
        self.code = code
        type(self).calls += 1


class Only(Exception):
    """Makes one instance and no second one."""

    made = False

    def __new__(cls, *args: object) -> Only:
        if cls.made:
            raise RuntimeError("there is one")
        cls.made = True
        return super().__new__(cls, *args)


class Sealed(Exception):
    """Refuses attributes."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Mixed(Strange, ConnectionResetError):
    """Has two of Python's classes as bases, of which only one can make it."""

    def __init__(self, code: int) -> None:
        super().__init__(code, why="mixed")


class Fixed(LookupError):
    """Makes no copy of its own class: its arguments cannot be set."""

    args = property(lambda self: ("fixed",))  # type: ignore[assignment]


class CopyTests(unittest.TestCase):
    def assert_copied(self, error: BaseException) -> None:
        made = copy_of(error)
        self.assertIsNot(made, error)
        self.assertEqual((type(made), made.args, str(made)), (type(error), error.args, str(error)))
        self.assertEqual(vars(made), vars(error))
        self.assertIsNone(made.__traceback__)
        self.assertIs(made.__suppress_context__, error.__suppress_context__)
        for mine, other in ((made.__cause__, error.__cause__), (made.__context__, error.__context__)):
            self.assertEqual(repr(mine), repr(other))
            if mine is not None:
                self.assertIsNot(mine, other)
                self.assertIsNone(mine.__traceback__)

    def raised(self, error: Exception) -> BaseException:
        """The exception, raised from another one while a third was handled."""
        try:
            try:
                raise KeyError("context")
            except KeyError:
                raise error from ValueError("cause")
        except Exception as caught:
            return caught

    def test_any_class(self) -> None:
        """Class, arguments, attributes, notes and chain are those of the original; the traceback is not."""
        noted = ZeroDivisionError("division")
        noted.add_note("a note")
        errors = (noted, OSError(2, "No such file", "name"), UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"))
        group = ExceptionGroup("several", [OSError(1, "a"), ValueError("b")])
        for error in (*errors, Strange(5, why="so"), Mixed(5), Sealed("one"), KeyError(), Exception(1, 2), group):
            with self.subTest(repr(error)):
                self.assert_copied(self.raised(error))

    def test_chain_that_was_never_suppressed(self) -> None:
        """An exception without a cause shows its context, and so does the copy."""
        try:
            try:
                raise KeyError("context")
            except KeyError:
                int("x")
        except ValueError as error:
            self.assertFalse(error.__suppress_context__)
            self.assert_copied(error)

    def test_no_code_of_the_class_is_run(self) -> None:
        """An __init__ that would take the arguments for others, or a __new__ that refuses, is not called."""
        error = Defaulted(4001, "no seat left")
        self.assert_copied(self.raised(error))
        self.assertEqual((str(copy_of(error)), Defaulted.calls), ("no seat left", 1))
        self.assert_copied(self.raised(Only("one")))

    def test_python_s_own_attributes(self) -> None:
        """What an OSError, an ImportError or a SyntaxError knows beside its arguments is copied too."""
        try:
            os.unlink("/no/such/file")
        except OSError as error:
            made = copy_of(error)
            self.assertEqual((made.filename, made.errno, str(made)), (error.filename, error.errno, str(error)))
        named = copy_of(ImportError("no", name="a", path="b"))
        self.assertEqual((named.name, named.path, str(named)), ("a", "b", "no"))
        at = copy_of(SyntaxError("bad", ("file", 3, 1, "x", 3, 2)))
        self.assertEqual((at.filename, at.lineno, at.msg), ("file", 3, "bad"))

    def test_one_that_cannot_be_copied(self) -> None:
        """Of a class that makes no copy, it is one in the nearest base class that does."""
        made = copy_of(Fixed())
        self.assertEqual((type(made), made.args), (LookupError, ("fixed",)))

    def test_notes_are_its_own(self) -> None:
        """A note that is added to a copy is on no other."""
        error = ValueError()
        error.add_note("one")
        copy_of(error).add_note("two")
        self.assertEqual(error.__notes__, ["one"])

    def test_chain_in_a_circle(self) -> None:
        """A chain that leads back to its beginning is copied as it is."""
        one, two = OSError("one"), OSError("two")
        one.__context__, two.__cause__ = two, one
        made = copy_of(one)
        assert made.__context__ is not None
        self.assertIs(made.__context__.__cause__, made)
        self.assertEqual((made.args, made.__context__.args), (("one",), ("two",)))
        self.assertIsNot(made.__context__, two)


class ForgetFramesTests(unittest.TestCase):
    class Kept:
        """What a frame knows."""

    def keep(self, error: BaseException, chain: str) -> tuple[BaseException, weakref.ref[Kept]]:
        """An exception whose frames, or those of one chained to it, know an object and the exception itself."""
        known = self.Kept()
        made = weakref.ref(known)
        try:
            try:
                raise error
            except BaseException as cause:
                if chain == "alone":
                    raise
                if chain == "cause":
                    raise RuntimeError from cause
                raise RuntimeError from None  # its context is still the other
        except BaseException as raised:
            kept = raised
        return kept, made

    def test_frames_are_freed(self) -> None:
        """What the frames of an exception know is freed without the garbage collector, chained exceptions included."""
        gc.disable()
        self.addCleanup(gc.enable)
        for chain in ("alone", "cause", "context"):
            with self.subTest(chain):
                kept, made = self.keep(OSError(), chain)
                self.assertIsNotNone(made())
                forget_frames(kept)
                self.assertIsNone(made())

    def test_chain_in_a_circle(self) -> None:
        """A chain that leads back to its beginning ends."""
        one, two = OSError(), OSError()
        one.__context__, two.__cause__ = two, one
        forget_frames(one)
        self.assertIsNone(two.__traceback__)
