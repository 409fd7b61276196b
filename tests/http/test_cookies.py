"""cookies.py: a cookie is read as it was written, by browsers and by Python, and junk raises nothing."""

from __future__ import annotations

import random
import unittest
from http.cookies import CookieError, SimpleCookie

from syncws._http.cookies import parse_cookies
from syncws._http.request import Request


def read(line: str) -> dict[str, str]:
    """The cookies of a line, given as the text that was sent in UTF-8."""
    return parse_cookies([line.encode().decode("latin-1")])


class CookieTests(unittest.TestCase):
    def test_http_cookies(self) -> None:
        """Whatever http.cookies writes is read back: octal escapes (a comma is \\054), quotes and backslashes."""
        for value in (
            "a,b",
            'say "hi"',
            "back\\slash",
            "\\054",
            "semi;colon",
            "a b",
            "",
            '"',
            '"quoted"',
            "\\",
            "\t\x7f",
        ):
            with self.subTest(value):
                self.assertEqual(self.from_python(value), value)

    def test_every_character(self) -> None:
        """Each character comes back from http.cookies, alone and inside a word; not those it refuses to write."""
        written = 0
        for number in (*range(0x100), 0x100, 0x20AC, 0x65E5, 0xFFFD, 0x1F600):
            for value in (chr(number), f"a{chr(number)}b"):
                try:
                    back = self.from_python(value)
                except CookieError:
                    continue  # newer versions of Python refuse control characters
                written += 1
                self.assertEqual(back, value)
        self.assertGreater(written, 380)

    @staticmethod
    def from_python(value: str) -> str | None:
        """What is read of a cookie that http.cookies has made of this value, and a browser has sent back."""
        cookie: SimpleCookie = SimpleCookie()
        cookie["k"] = value
        return read(cookie.output([], header="").strip()).get("k")

    def test_octal_utf_8(self) -> None:
        """Octal escapes are bytes, of UTF-8 where they can be (as werkzeug writes them), else of Latin-1."""
        for line, value in (
            (r'k="gr\303\274\303\237"', "grüß"),
            (r'k="\342\202\254"', "€"),
            (r'k="\351"', "é"),
            (r'k="a\054b"', "a,b"),
            (r'k="a\"b\\c\073"', 'a"b\\c;'),
            (r'k="\400\8\05"', "4008" + "05"),
            ('k="a\\', '"a\\'),
            ('k="a\\"', "a\\"),
            (r"k=a\054b", r"a\054b"),
            (r'k="a\054b', r'"a\054b'),
        ):
            with self.subTest(line):
                self.assertEqual(read(line), {"k": value})

    def test_browsers(self) -> None:
        """What browsers send: pairs after each other, in any characters, quoted or not, or percent-encoded."""
        self.assertEqual(
            read('a=1; b=x=y; c=; d="quoted"; e=gr\xfc\xdf; f=%20; g={"k":[1,2]}; h=a b; a=2'),
            {
                **{"a": "1", "b": "x=y", "c": "", "d": "quoted", "e": "gr\xfc\xdf"},
                **{"f": "%20", "g": '{"k":[1,2]}', "h": "a b"},
            },
        )
        self.assertEqual(parse_cookies(["a=\xfc"]), {"a": "\xfc"})  # one byte, which is no UTF-8
        self.assertEqual(
            read("a=voil\xe0; b=\xc5"), {"a": "voil\xe0", "b": "\xc5"}
        )  # one ends in what Latin-1 has for a blank

    def test_semicolons_end_cookies(self) -> None:
        """A quote that is opened swallows no other cookie: they end at semicolons (RFC 6265 section 5.4)."""
        self.assertEqual(read('a="x; session=secret; b=y"'), {"a": '"x', "session": "secret", "b": 'y"'})

    def test_junk(self) -> None:
        """What is no cookie is passed over."""
        self.assertEqual(read("; ;; =; =3; nameless; \t; a=1;"), {"a": "1"})
        self.assertEqual(parse_cookies([]), {})

    def test_requests(self) -> None:
        """Request.cookies reads all lines, of requests that were made by hand, too."""
        request = Request(
            "GET", "/", [("Cookie", r'a="\303\251"'), ("cookie", "b=\u20ac; a=2"), ("Cookie", "c=\ud800")]
        )
        self.assertEqual(request.cookies, {"a": "é", "b": "€", "c": "?"})

    def test_any_text(self) -> None:
        """Lines of any characters are read, and nothing is raised."""
        rng = random.Random(2)
        parts = [*';="\\ \t\0\x7f,07', "a", "\\054", "\\", "\xff", "\xc3", "\u20ac", "\udc80", "=", '"']
        found = 0
        for _ in range(20_000):
            found += len(parse_cookies(["".join(rng.choices(parts, k=rng.randrange(12)))]))
        self.assertGreater(found, 5000)


if __name__ == "__main__":
    unittest.main()
