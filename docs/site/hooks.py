"""What MkDocs does not do by itself: files from outside of docs, and formulas without a script."""

import re
from html import unescape
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the figures of the results and the list of changes, by the names that links have."""
    for path in [*(ROOT / "bench" / "results").glob("*.png"), ROOT / "CHANGELOG.md"]:
        inside = path.relative_to(ROOT).as_posix()
        file = File.generated(config, f"../{inside}", abs_src_path=str(path))
        file.inclusion = InclusionLevel.INCLUDED  # dots at the beginning exclude a file
        file.dest_uri = file.dest_uri.removeprefix("../").lower()
        files.append(file)
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas become MathML, which browsers show as it is."""
    html = INLINE.sub(lambda found: convert(unescape(found[1])), html)
    return BLOCK.sub(lambda found: convert(unescape(found[1]), display="block"), html)
