"""masking.py: every way of masking gives what RFC 6455 section 5.3 says, at every size and offset."""

from __future__ import annotations

import random
import sys
import threading
import unittest
from unittest import mock

from syncws._frames import masking

try:
    import numpy
except ImportError:
    numpy = None

KEY = b"\x37\xfa\x21\x3d"

# Around every place where the way changes, and the sizes at which words of 4 bytes do not fit.
SIZES = (*range(20), 125, 126, 127, 510, 511, 512, 513, 514, 515, 4095, 4096, 4097, 4098, 32767, 32768, 32769, 65537)


def spelled_out(data, key, offset=0):
    """The definition, byte by byte: RFC 6455 section 5.3."""
    return bytes(byte ^ key[(i + offset) % 4] for i, byte in enumerate(bytes(data)))


class MaskingTests(unittest.TestCase):
    """What holds whether numpy is installed or not: with it if it is."""

    def setUp(self):
        self.random = random.Random(6455)
        self.enterContext(mock.patch.object(masking, "_numpy", ...))  # nobody has looked for it yet

    def test_matches_the_definition(self):
        """Each size and offset gives what the RFC's formula gives, for bytes, bytearray and memoryview."""
        for size in SIZES:
            data = self.random.randbytes(size)
            for offset in (0, 1, 2, 3, 4, 7, 65537):
                expected = spelled_out(data, KEY, offset)
                for kind in (bytes, bytearray, memoryview):
                    with self.subTest(size=size, offset=offset, kind=kind.__name__):
                        masked = masking.mask(kind(data), KEY, offset)
                        self.assertIs(type(masked), bytes)
                        self.assertEqual(masked, expected)

    def test_example_of_the_rfc(self):
        """RFC 6455 section 5.7: the masked text frame "Hello"."""
        self.assertEqual(masking.mask(b"Hello", KEY), b"\x7f\x9f\x4d\x51\x58")

    def test_payload_of_a_frame(self):
        """unmask takes a payload out of the middle of what was received, with the key that stands before it."""
        for size in SIZES:
            for start in (6, 8, 14, 4 + 5):
                data = self.random.randbytes(size)
                frame = self.random.randbytes(start - 4) + KEY + spelled_out(data, KEY) + self.random.randbytes(3)
                with self.subTest(size=size, start=start):
                    payload = masking.unmask(frame, start, start + size)
                    self.assertIs(type(payload), bytes)
                    self.assertEqual(payload, data)

    def test_masking_twice_gives_the_data_back(self):
        """Unmasking is masking."""
        for size in SIZES:
            data = self.random.randbytes(size)
            self.assertEqual(masking.mask(masking.mask(data, KEY, 3), KEY, 3), data)

    def test_the_argument_is_left_alone(self):
        """mask returns new bytes: what it was given does not change, bytes least of all."""
        for size in SIZES:
            for kind in (bytes, bytearray):
                data = kind(self.random.randbytes(size))
                before = bytes(bytearray(data))
                masking.mask(data, KEY)
                self.assertEqual(data, before)

    def test_a_view_at_an_odd_address(self):
        """Data that does not begin at a multiple of 4 in memory is masked too."""
        whole = self.random.randbytes(10_000)
        for start in range(5):
            for size in (0, 1, 7, 100, 640, 5001):
                view = memoryview(whole)[start : start + size]
                self.assertEqual(masking.mask(view, KEY, start), spelled_out(view, KEY, start))

    def test_in_place(self):
        """mask_into masks its part of the buffer, and only that."""
        for size in SIZES:
            for start, behind, offset in ((0, 0, 0), (1, 0, 0), (3, 5, 1), (14, 1, 6), (2, 2, 3)):
                buffer = bytearray(self.random.randbytes(start + size + behind))
                before = bytes(buffer)
                end = start + size
                masking.mask_into(buffer, start, end, KEY, offset)
                with self.subTest(size=size, start=start, offset=offset):
                    self.assertEqual(buffer[start:end], spelled_out(before[start:end], KEY, offset))
                    self.assertEqual(buffer[:start], before[:start])
                    self.assertEqual(buffer[end:], before[end:])

    def test_in_place_under_a_view(self):
        """A view of the buffer stays valid while a part is masked, and nothing holds the buffer afterwards."""
        for size in (10, 700, 5003):
            buffer = bytearray(size)
            with memoryview(buffer) as view:
                masking.mask_into(buffer, 1, size, KEY)
                self.assertEqual(view[1:5], KEY)
            buffer.extend(b"more")

    def test_in_pieces(self):
        """A payload masked piece by piece, each with its offset, is the payload masked whole."""
        data = self.random.randbytes(50_000)
        expected = masking.mask(data, KEY)
        for largest in (3, 700, 9000):
            buffer = bytearray(data)
            pieces = []
            offset = 0
            while offset < len(data):
                end = min(offset + self.random.randint(1, largest), len(data))
                pieces.append(masking.mask(data[offset:end], KEY, offset))
                masking.mask_into(buffer, offset, end, KEY, offset)
                offset = end
            self.assertEqual(b"".join(pieces), expected)
            self.assertEqual(buffer, expected)

    def test_many_threads(self):
        """Threads that mask their first large payload at the same moment all get it right."""
        data = self.random.randbytes(70_001)
        expected = spelled_out(data, KEY)
        gate = threading.Barrier(8)
        results = []

        def work():
            buffer = bytearray(data)
            gate.wait()
            masking.mask_into(buffer, 0, len(buffer), KEY)
            results.append(masking.mask(data, KEY) == expected and buffer == expected)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [True] * 8)


@unittest.skipIf(numpy is None, "numpy is not installed")
class NumpyTests(unittest.TestCase):
    """numpy is installed."""

    def setUp(self):
        self.enterContext(mock.patch.object(masking, "_numpy", ...))

    def test_small_payloads_do_not_import_it(self):
        """A program whose messages are all under 4 KiB never pays for the import."""
        masking.mask(bytes(4095), KEY)
        masking.mask_into(bytearray(4095), 0, 4095, KEY)
        self.assertIs(masking._numpy, ...)

    def test_a_large_payload_imports_it(self):
        """From 4 KiB on it is there, and what follows uses it."""
        masking.mask(bytes(4096), KEY)
        self.assertIs(masking._numpy, numpy)

    def test_a_thread_that_looks_during_the_import(self):
        """Another thread sees numpy only once all of what masking takes from it is there."""
        seen = []

        class Numpy:
            uint64 = numpy.uint64

            @staticmethod
            def dtype(kind):
                seen.append(masking._numpy)  # as another thread would in this instant
                return numpy.dtype(kind)

        with (
            mock.patch.object(masking.importlib, "import_module", return_value=Numpy),
            mock.patch.object(masking, "_word"),
        ):
            masking._uses_numpy(4096)
        self.assertEqual(seen, [...])


class ImportTests(unittest.TestCase):
    """Two threads that import numpy at the same time."""

    def test_numpy_is_known_last(self):
        """A thread that finds numpy also finds what is taken from it, since that is stored first."""
        found_while_made = []
        stand_in = mock.Mock()
        stand_in.dtype = lambda kind: found_while_made.append(masking._numpy)
        with (
            mock.patch.object(masking, "_numpy", ...),
            mock.patch.object(masking, "_word", None),
            mock.patch.object(masking.importlib, "import_module", return_value=stand_in),
        ):
            self.assertTrue(masking._uses_numpy(1 << 20))
            self.assertIs(masking._numpy, stand_in)
        self.assertEqual(found_while_made, [...])


class WithoutNumpyTests(MaskingTests):
    """numpy is not installed: importing it raises ImportError."""

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.dict(sys.modules, {"numpy": None}))

    def test_its_absence_is_looked_up_once(self):
        """A failed import is expensive, so it is remembered."""
        masking.mask(bytes(4096), KEY)
        self.assertIsNone(masking._numpy)
        with mock.patch.object(masking.importlib, "import_module") as looked:
            masking.mask(bytes(4096), KEY)
        looked.assert_not_called()

    def test_a_broken_numpy_is_no_numpy(self):
        """Whatever the import of numpy raises, masking goes on without it."""
        with mock.patch.object(masking.importlib, "import_module", side_effect=RuntimeError("broken")):
            self.assertEqual(masking.mask(bytes(4096), KEY), KEY * 1024)
        self.assertIsNone(masking._numpy)


if __name__ == "__main__":
    unittest.main()
