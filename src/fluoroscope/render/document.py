"""Results as HTML documents that load nothing: one, several, or one in a notebook's cell; only `live` runs a script."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape, unescape

from fluoroscope.render import html, pages, stylesheet
from fluoroscope.render.markup import escaped, sentence
from fluoroscope.render.section import File, Section
from fluoroscope.render.text import facts, marks, prose, size


def page(section: Section) -> str:
    """A whole result as one file, under a policy that allows its own style sheet and nothing else."""
    return _document(section.title, _body(section))


def live(section: Section) -> str:
    """The same, whose pictures answer mouse and keyboard where its one script runs, and stay as drawn where not.

    An installation without the lab's page has no such script, and makes the page without it.
    """
    script = pages.bundle("file.js")
    if script is None:
        return page(section)
    views = json.dumps([view.model_dump(mode="json") for view in section.views], allow_nan=False)
    carried = f'<script type="application/json" id="fluoroscope-views">{pages.inert(views)}</script>\n'
    return _document(section.title, _body(section), script, carried)


def report(
    title: str,
    lead: Sequence[str],
    about: Mapping[str, object],
    sections: Sequence[Section],
    made: Mapping[str, object] | None = None,
) -> str:
    """Several results as one file: what was asked and of what, the sentence of each, each in full, how it was made."""
    asked = "\n".join(f'<p class="lead">{escaped(paragraph)}</p>' for paragraph in lead)
    contents = "\n".join(
        f'<li><a href="#{escape(section.name)}">{escaped(section.title)}</a>: {escaped(section.summary)}</li>'
        for section in sections
    )
    head = f'<h1 class="title">{escaped(title)}</h1>\n{asked}\n<div>{_facts(about)}</div>\n<ol>\n{contents}\n</ol>'
    foot = [f"<footer>\n{_facts(made)}\n</footer>"] if made else []
    return _document(title, _main("\n".join([head, *map(_section, sections), *foot])))


def fragment(section: Section) -> str:
    """A result for a notebook's output cell, with its style confined to itself."""
    return f"<div><style>{stylesheet.rules()}</style>{_body(section)}</div>"


def _section(section: Section) -> str:
    files = ", ".join(map(_file, section.files))
    beside = f'<p class="muted">Files: {files}</p>\n' if files else ""
    return f'<section id="{escape(section.name)}">\n{_content(section, "h2")}\n{beside}</section>'


def _file(file: File) -> str:
    """A link to a file beside the page, or to one that the page carries; or that it is too large for that."""
    name = escaped(file.name)
    if file.size is None:
        return f'<a href="{escape(file.name)}">{name}</a>'
    if file.text is None:
        return f"{name} ({size(file.size)}) is too large to be carried by this page"
    data = base64.b64encode(file.text.encode("utf8")).decode()
    return (
        f'<a download="{escape(file.name)}" href="data:application/json;base64,{data}">{name}</a> ({size(file.size)})'
    )


def _document(title: str, body: str, script: str = "", carried: str = "") -> str:
    """A page under a policy that allows its own styles, its own script if it has one, and nothing else."""
    allowed = f"script-src '{_digest(script)}'; " if script else ""
    own = f"style-src '{_digest(stylesheet.rules())}'; base-uri 'none'; form-action 'none'"
    policy = f"default-src 'none'; {allowed}{own}"
    runs = f"{carried}<script>{script}</script>\n" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{escaped(title)} – Fluoroscope</title>\n<style>{stylesheet.rules()}</style>\n</head>\n"
        f'<body class="fluoroscope-page">\n{body}\n{runs}</body>\n</html>\n'
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf8')).digest()).decode()}"


def _body(section: Section) -> str:
    return _main(_content(section))


def _main(content: str) -> str:
    """What is read of a page, and at its end what the marks in it mean."""
    told = marks(unescape(content))
    legend = f'<p class="muted">{escaped(told)}</p>\n' if told else ""
    return f'<main class="fluoroscope">\n{content}\n{legend}</main>'


def _content(section: Section, heading: str = "h1") -> str:
    again = "".join(f"<p>{escaped(name)}</p>{_code(text)}" for name, text in section.again.items())
    folded = f'<details class="again"><summary>Reproduce</summary>{again}</details>\n' if again else ""
    return (
        f'<{heading}>{escaped(section.title)}</{heading}>\n<p class="summary">{sentence(section.summary)}</p>\n'
        f'<div class="pictures">\n{html.draw_all(section.views)}\n</div>\n{folded}'
        f"<details><summary>Recipe</summary>{_facts(section.recipe)}</details>"
    )


def _code(text: str) -> str:
    return f"<pre>{escape(chr(10).join(map(prose, text.split(chr(10)))))}</pre>"


def _facts(about: Mapping[str, object]) -> str:
    told = ((escaped(name), escaped(value)) for name, value in facts(about))
    rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in told)
    return f'<table class="recipe"><tbody>{rows}</tbody></table>'
