"""A browser on the echo server's page, used as a person would use it."""

from __future__ import annotations

import signal
import tempfile
from typing import Any, ClassVar

from syncws.testing import LeakChecks
from tests import certificates
from tests.examples.test_examples import EchoServer
from tests.partners import heavy

from .nodes import NodeProgram, start_browser


@heavy
class PageTests(LeakChecks):
    browser: ClassVar[NodeProgram]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.browser = start_browser()
        cls.addClassCleanup(cls.browser.close)

    def open(self, *options: str) -> EchoServer:
        """Serve, open the page, and wait until it is connected."""
        server = self.enterContext(EchoServer(*options))
        self.page("goto", "about:blank")  # the page of a test before may complain until it is left
        self.browser.call("complaints")
        self.page("goto", server.url)
        self.wait_for_state("open")
        return server

    def page(self, method: str, *args: Any) -> None:
        self.browser.call("page", method, *args)

    def text(self, selector: str) -> str:
        return " ".join(self.browser.call("ask", "innerText", selector).split())

    def send(self, text: str) -> None:
        self.page("fill", "#message", text)
        self.page("click", "#send")

    def wait_for_state(self, state: str) -> None:
        self.page("waitForSelector", f"#state[data-state={state}]")

    def wait_for_lines(self, count: int) -> list[str]:
        """Wait until the list of messages has that many lines; what they say, without how long the echo took."""
        self.page("waitForSelector", f"#log li:nth-child({count})")
        lines = self.browser.call(
            "ask", "evaluate", "[...document.querySelectorAll('#log li')].map((e) => e.innerText)"
        )
        return [" ".join(line.split("\n")[:2]) for line in lines]

    def test_talk(self) -> None:
        """The page connects by itself, sends, shows the echo, closes, shows code and reason, and connects again."""
        server = self.open()
        self.assertEqual(self.text("#address"), f"{server.websocket_url}ws")
        self.assertEqual(self.text("#state"), "open")

        self.send("hello")
        self.assertEqual(self.wait_for_lines(2), ["sent hello", "received hello"])
        self.page("type", "#message", "<b>ünïcödé 🎈</b>")
        self.page("press", "#message", "Enter")
        self.assertEqual(self.wait_for_lines(4)[2:], ["sent <b>ünïcödé 🎈</b>", "received <b>ünïcödé 🎈</b>"])
        self.assertRegex(self.text("#log li:nth-child(4)"), r" \d+\.\d ms$")

        self.page("click", "#close")
        self.wait_for_state("closed")
        self.assertEqual(self.text("#state"), "closed code 1000, no reason")
        self.assertTrue(self.browser.call("ask", "isDisabled", "#send"))

        self.page("click", "#clear")
        self.page("click", "#connect")
        self.wait_for_state("open")
        self.send("again")
        self.assertEqual(self.wait_for_lines(2), ["sent again", "received again"])
        self.assertEqual(self.browser.call("complaints"), [])

    def test_close_by_the_server(self) -> None:
        """When the server ends, the page shows 1001; when it comes too late to connect, 1006."""
        server = self.open()
        self.assertEqual(server.end(signal.SIGTERM), 0)
        self.wait_for_state("closed")
        self.assertRegex(self.text("#state"), "^closed code 1001")
        self.page("click", "#connect")
        self.page("waitForSelector", "#log li:nth-child(2)")
        self.assertRegex(self.text("#state"), r"^closed code 1006, no reason, not a clean close$")

    def test_too_large(self) -> None:
        """A message over the read limit ends in 1009, and the page shows it."""
        self.open("--read-limit", "5")
        self.send("12345")
        self.assertEqual(self.wait_for_lines(2), ["sent 12345", "received 12345"])
        self.send("123456")
        self.wait_for_state("closed")
        self.assertRegex(self.text("#state"), "^closed code 1009, ")

    def test_tls_and_compression(self) -> None:
        """Under TLS the page connects to wss, and it works with compression too."""
        files = certificates.files(self.enterContext(tempfile.TemporaryDirectory()))
        server = self.open("--certfile", files.both, "--compression")
        self.assertEqual(self.text("#address"), f"wss://127.0.0.1:{server.port}/ws")
        self.send("hello " * 1000)
        self.assertEqual(self.wait_for_lines(2)[1].split(), ["received", *["hello"] * 1000])

    def test_accessible(self) -> None:
        """Every control has a name, messages and state are announced, and light and dark both have contrast."""
        self.open()
        nameless = (
            "[...document.querySelectorAll('button, input')].filter((e) => !(e.innerText || e.labels.length)).length"
        )
        self.assertEqual(self.browser.call("ask", "evaluate", nameless), 0)
        self.page("waitForSelector", "#state[role=status]")
        self.page("waitForSelector", "#log[role=log]")
        for scheme in ("light", "dark"):
            self.page("emulateMedia", {"colorScheme": scheme})
            for selector in ("p", "label", "#state b", "#send", "#close", "h1"):
                with self.subTest(scheme=scheme, selector=selector):
                    self.assertGreater(self.browser.call("ask", "evaluate", CONTRAST % selector), 4.5)


#: The contrast of an element's text with what is behind it, as WCAG 2 computes it.
CONTRAST = """(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => numbers(color).slice(0, 3).map((each) => each / 255)
    .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, index) => sum + each * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return numbers(color)[3] === 0 ? behind(element.parentElement) : color;
  };
  const element = document.querySelector("%s");
  const [low, high] = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
})()"""
