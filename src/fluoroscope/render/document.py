"""Results as HTML documents that load nothing and run nothing: one, several, or one in a notebook's cell."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from fluoroscope.render import html, stylesheet
from fluoroscope.render.markup import escaped
from fluoroscope.render.text import facts
from fluoroscope.views import View


@dataclass(frozen=True)
class Section:
    """A result among others on one page; `name` is the anchor that leads to it, `files` lie beside the page."""

    name: str
    title: str
    summary: str
    views: Sequence[View]
    recipe: Mapping[str, object]
    files: Sequence[str] = ()


def page(title: str, summary: str, views: Sequence[View], recipe: Mapping[str, object]) -> str:
    """A whole result as one file, under a policy that allows its own style sheet and nothing else."""
    return _document(title, _body(title, summary, views, recipe))


def report(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """Several results as one file: what was asked, the sentence of each, then each with all its pictures."""
    asked = "\n".join(f'<p class="lead">{escaped(paragraph)}</p>' for paragraph in lead)
    contents = "\n".join(
        f'<li><a href="#{escape(section.name)}">{escaped(section.title)}</a>: {escaped(section.summary)}</li>'
        for section in sections
    )
    head = f"<h1>{escaped(title)}</h1>\n{asked}\n<ol>\n{contents}\n</ol>"
    return _document(title, "\n".join(['<main class="fluoroscope">', head, *map(_section, sections), "</main>"]))


def _section(section: Section) -> str:
    links = ", ".join(f'<a href="{escape(file)}">{escaped(file)}</a>' for file in section.files)
    beside = f'<p class="muted">Files: {links}</p>\n' if links else ""
    content = _content(section.title, section.summary, section.views, section.recipe, "h2")
    return f'<section id="{escape(section.name)}">\n{content}\n{beside}</section>'


def _document(title: str, body: str) -> str:
    digest = base64.b64encode(hashlib.sha256(stylesheet.rules().encode("utf8")).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{escaped(title)} – Fluoroscope</title>\n<style>{stylesheet.rules()}</style>\n</head>\n"
        f'<body class="fluoroscope-page">\n{body}\n</body>\n</html>\n'
    )


def fragment(title: str, summary: str, views: Sequence[View], recipe: Mapping[str, object]) -> str:
    """The same for a notebook's output cell, with its style confined to itself."""
    return f"<div><style>{stylesheet.rules()}</style>{_body(title, summary, views, recipe)}</div>"


def _body(title: str, summary: str, views: Sequence[View], recipe: Mapping[str, object]) -> str:
    return f'<main class="fluoroscope">\n{_content(title, summary, views, recipe)}\n</main>'


def _content(title: str, summary: str, views: Sequence[View], recipe: Mapping[str, object], heading: str = "h1") -> str:
    rows = "".join(f"<tr><th>{escaped(name)}</th><td>{escaped(value)}</td></tr>" for name, value in facts(recipe))
    return (
        f'<{heading}>{escaped(title)}</{heading}>\n<p class="summary">{escaped(summary)}</p>\n{html.draw_all(views)}\n'
        f'<details><summary>Recipe</summary><table class="recipe"><tbody>{rows}</tbody></table></details>'
    )
