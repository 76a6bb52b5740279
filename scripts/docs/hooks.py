"""What `mkdocs build` does beyond docs/: generated reference pages, and files that pages link to.

The reference under `reference/` is made at each build from the sources, so it cannot say anything else than
they do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import command_page
import interface_pages
import preset_page
import python_pages
import repository_pages
from mkdocs.structure.files import File, Files, InclusionLevel
from pymdownx.slugs import slugify

from ovseg_ros.ros.parameters.docs import markdown_table

ROOT = Path(__file__).resolve().parents[2]

_PARAMETERS = """---
hide: [toc]
---

# Parameters

Every parameter of the node, made from its table in `ovseg_ros/ros/parameters`. `live` changes hold from the
next frame on, `at configure` ones from the next configure, `at start` ones from the next start of the
process; [Interfaces](../interfaces.md#parameters) says more, and
[config/ovseg.yaml](../../config/ovseg.yaml) holds all with these defaults.

"""


def reference() -> dict[str, str]:
    """Place in the site -> Markdown of each generated page."""
    pages = {
        f"reference/{name}.md": interface_pages.page(ROOT, folder)
        for folder, name in interface_pages.PAGES.items()
    }
    pages["reference/parameters.md"] = _PARAMETERS + markdown_table() + "\n"
    pages["reference/command_line.md"] = command_page.page()
    pages["reference/presets.md"] = preset_page.page()
    pages |= {f"reference/python/{name}": text for name, text in python_pages.pages(ROOT).items()}
    return pages


def stand_ins() -> dict[str, str]:
    """Path in the repository -> the generated page that shows it better than its text would."""
    places = {}
    for folder, name in interface_pages.PAGES.items():
        places[folder] = f"reference/{name}.md"
        for path in (ROOT / folder).glob(f"*.{folder}"):
            places[f"{folder}/{path.name}"] = f"reference/{name}.md#{path.stem.lower()}"
    return places


_origins: dict[str, str] = {}
"""Place in the site -> path in the repository, of pages from outside docs/; filled anew in each build."""


def on_config(config: Any) -> Any:
    """Makes the anchors of headings as the forge does."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages and those of linked files."""
    _origins.clear()
    for src_uri, text in reference().items():
        files.append(File.generated(config, src_uri, content=text))
    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    for path in repository_pages.linked_files(
        ROOT, [repository_pages.HOME, "CONTRIBUTING.md", *pages], stand_ins()
    ):
        src_uri = repository_pages.place(path, {})
        text = repository_pages.text_of(ROOT, path)
        if text is None:
            src_uri = f"repository/{path}"
            files.append(File.generated(config, src_uri, abs_src_path=str(ROOT / path)))
        else:
            level = InclusionLevel.UNDEFINED if path.endswith(".md") else InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, src_uri, content=text, inclusion=level))
        _origins[src_uri] = path
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Leads links to files of the repository to their pages here."""
    src_uri = page.file.src_uri
    written = repository_pages.origin(src_uri, _origins)
    return repository_pages.with_links(ROOT, markdown, written, src_uri, stand_ins())
