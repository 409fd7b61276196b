"""What setup.cfg cannot say: the accelerator in C, and that the page a registry shows is README with links that work
there, too."""

import configparser
import re
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).resolve().parent

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
#: An image or a link of the project itself; the words of a link may hold an image.
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:|#)([^)\s]+)\)")


def source_address(settings: str) -> str:
    """The project URL named "Source" in the text of setup.cfg; "" without one."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(settings)
    urls = parser.get("metadata", "project_urls", fallback="").splitlines()
    named = {name.strip(): address.strip() for name, _, address in (line.partition("=") for line in urls)}
    return named.get("Source", "").rstrip("/")


def for_a_registry(text: str, source: str) -> str:
    """A README whose relative links lead to the repository at this address. Without one they are plain words, and
    pictures are left out: on a registry's page they would lead nowhere. Blocks of code stay as they are."""

    def turn(link: re.Match[str]) -> str:
        image, words, target = link.groups()
        words = words if image else _LINK.sub(turn, words)
        if not source:
            return "" if image else words
        return f"{image}[{words}]({source}/{'raw' if image else 'blob'}/main/{target})"

    pieces, end = [], 0
    for fence in _FENCE.finditer(text):
        pieces += [_LINK.sub(turn, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*pieces, _LINK.sub(turn, text[end:])])


def accelerator(stable: bool) -> Extension:
    """syncws/_frames/fast.c: optional, so that where there is no compiler, or it fails, syncws is installed without it.

    With the stable ABI one file is for all Pythons from 3.11 on; those without the GIL have none yet.
    """
    return Extension(
        "syncws._frames._fast",
        ["syncws/_frames/fast.c"],
        define_macros=[("Py_LIMITED_API", "0x030B0000")] if stable else [],
        py_limited_api=stable,
        optional=True,
    )


if __name__ == "__main__":
    stable = not sysconfig.get_config_var("Py_GIL_DISABLED")
    setup(
        ext_modules=[accelerator(stable)],
        options={"bdist_wheel": {"py_limited_api": "cp311"}} if stable else {},
        long_description=for_a_registry(
            (HERE / "README.md").read_text(encoding="utf-8"),
            source_address((HERE / "setup.cfg").read_text(encoding="utf-8")),
        ),
        long_description_content_type="text/markdown",
    )
