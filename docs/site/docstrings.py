"""Docstrings for Markdown: Sphinx's roles and directives become links, formulas and code."""

import re

import griffe

PACKAGE = "impsamp_fast"
ROLE = re.compile(r":(class|func|meth|mod|math):`(~?)(.*?)`", re.DOTALL)
MATH_BLOCK = re.compile(r"^( *)\.\. math:: (.*)$", re.MULTILINE)
MARK_ALONE = re.compile(r"^::\n\n", re.MULTILINE)  # of a block of code, which is indented anyway
MARK_BEHIND = re.compile(r"::$", re.MULTILINE)


class SphinxRoles(griffe.Extension):
    """Rewrites the docstring of each object before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(docstring: str) -> str:
    """The docstring as mkdocstrings understands it."""
    text = ROLE.sub(role, docstring)
    text = MATH_BLOCK.sub(lambda found: f"{found[1]}$${found[2]}$$", text)
    return MARK_BEHIND.sub(":", MARK_ALONE.sub("", text))


def role(found: re.Match[str]) -> str:
    """A link where the reference has the object, and its name where not."""
    kind, short, target = found.groups()
    if kind == "math":
        return f"${target}$"
    shown = target.rpartition(".")[2] if short else target
    name = target if target.startswith((PACKAGE, "torch")) else f"{PACKAGE}.{target}"
    return f'<autoref identifier="{name}" optional><code>{shown}</code></autoref>'
