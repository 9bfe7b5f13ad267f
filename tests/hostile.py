"""Hostile strings by the hundred, each with a mark of its own, and pictures that hold them wherever text can be.

Whatever makes an element or an attribute of one of them shows it by the attribute `data-owned`; whatever runs one sets
`owned` or the title of the page.
"""

import re
from collections.abc import Sequence

from fluoroscope import views
from fluoroscope.marks import Arc, Bar, Column, Edge, Mark, Node, Point, Row, Series, TokenMark

RUN = "document.title=window.owned='owned'"
MARK = re.compile(r"¤\d+¤")

_EVENTS = (
    "error", "load", "focus", "click", "mouseover", "toggle", "animationstart", "beforetoggle", "begin", "pageshow",
)  # fmt: skip
_TAGS = (
    "img src=x", "svg", "body", "iframe srcdoc=x", "video src=x", "input autofocus", "details open", "marquee",
    "object data=x", "math", "select autofocus", "audio src=x", "a href=x",
)  # fmt: skip
_CLOSERS = (
    "", "</script>", "</style>", "</title>", "</textarea>", "</svg>", "-->", "]]>", "\"'>", "`}", "</noscript>",
    "</td></table>",
)  # fmt: skip
_SCRIPTS = (
    f"<script data-owned>{RUN}</script>", f"<ScRiPt data-owned\n>{RUN}</sCrIpT >",
    f"<script/data-owned/src=data:,{RUN}>", f"<svg data-owned><script>{RUN}</script></svg>",
    f"<script data-owned>//\u2028{RUN}</script>", f"&lt;script data-owned&gt;{RUN}&lt;/script&gt;",
    f"&#60;script data-owned&#62;{RUN}&#60;/script&#62;",
    f"\\u003cscript data-owned\\u003e{RUN}\\u003c/script\\u003e", f"%3Cscript data-owned%3E{RUN}%3C/script%3E",
    f"＜script data-owned＞{RUN}＜/script＞", f"<<script data-owned>{RUN}//<</script>",
    f"<scr\0ipt data-owned>{RUN}</scr\0ipt>",
    f"<style data-owned>@import'javascript:{RUN}';*{{display:none}}</style>",
    "<link data-owned rel=stylesheet href=//evil.example>",
    f"<meta data-owned http-equiv=refresh content='0;url=javascript:{RUN}'>",
    "<base data-owned href=//evil.example/>", "<form data-owned action=//evil.example><button>",
    "<template data-owned><b data-owned>", "<dialog data-owned open>",
    f"<foreignObject data-owned><body onload={RUN}></foreignObject>",
    f"<use data-owned href='data:image/svg+xml,<svg onload={RUN}>'/>",
    f"<animate data-owned onbegin={RUN} attributeName=x>", f"<![CDATA[<script data-owned>{RUN}</script>]]>",
    f'<?xml-stylesheet href="javascript:{RUN}"?>', f'<!DOCTYPE x [<!ENTITY y "{RUN}">]>&y;', "<!--<b data-owned>-->",
)  # fmt: skip
_URLS = (
    f"javascript:{RUN}", f"JaVaScRiPt:{RUN}", f"java\tscript:{RUN}", f"\x01javascript:{RUN}",
    f"data:text/html,<script>{RUN}</script>", "data:text/html;base64,PHNjcmlwdD4=", f"vbscript:{RUN}",
    "file:///etc/passwd", "//evil.example/x", "https://evil.example/?q=1", "blob:null/x", "www.evil.example",
    "mailto:a@evil.example", "\\\\evil.example\\x", "../../../etc/passwd", "..%2f..%2fetc",
)  # fmt: skip
_MARKDOWN = (
    f"[x](javascript:{RUN})", "![x](//evil.example/x.png)", f"<javascript:{RUN}>", "[x]: //evil.example",
    "| a | b |\n| - | - |", "```\ncode", "# heading", "- item", "> quote", "1. one", "$x^2$", "$$\\def\\x{1}$$",
    "**bold** __bold__ ~~no~~ `code`", "@user #1", "a\n---\n", "<details data-owned><summary>x", "[^1]: note",
    "{: .class data-owned=1}", ":::warning", "\\<b data-owned>\\", "&nbsp;&#x3c;b&gt;",
)  # fmt: skip
_TEMPLATES = (
    "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{% raw %}", "[[7*7]]", "*{7*7}",
    "{{constructor.constructor('" + RUN + "')()}}", "%s%n%x", "{0.__class__}", "__proto__", "constructor", "toString",
    "hasOwnProperty", "$(touch owned)", "`id`", "; rm -rf /", "' OR 1=1 --", "=cmd|' /C calc'!A0", "+1+1", "@SUM(1)",
    "[bold red]rich[/bold red]", "[link=//evil.example]x[/link]",
)  # fmt: skip
_STYLES = (
    "red;background:url(//evil.example)", "}*{display:none}", "</style><b data-owned>", "expression(alert(1))",
    "\\3c b data-owned\\3e", 'x" style="position:fixed;inset:0" data-owned="', "x' style='color:red' data-owned='",
    "url('javascript:x')", "--x:1;}", "var(--page)", "@import '//evil.example';", "behavior:url(x)",
    "x\"autofocus data-owned onfocus=\"x",
)  # fmt: skip
_UNSEEN = (
    "\0", "\x01\x02\x03", "\x07\x08", "\x1b[31mred\x1b[0m", "\x1b]8;;//evil.example\x07link\x1b]8;;\x07", "\r\n",
    "\t\v\f", "\x7f", "\x85\x9b31m", "\xa0", "\xad", "\u061c", "\u180e", "\u200b\u200c\u200d", "\u200e\u200f",
    "\u202aa\u202bb\u202cc", "\u202egnirts\u202c", "\u2028\u2029", "\u2060\u2061", "\u2066a\u2067b\u2068c\u2069",
    "\ufeff", "\ufff9a\ufffab\ufffb", "\U000e0041\U000e007f", "\ue000", "\U0010ffff", "\u3000", "\u034f", "\u115f",
    "\u2800", "\u3164", "\uffa0", "\ufe0f",
)  # fmt: skip
_SCRIPTS_OF_PEOPLE = (
    "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627 123", "日本語", "한국어", "ไทย", "हिन्दी",
    "e\u0301" + "\u0301" * 40, "\u0301start", "Z̷a̶l̸g̵o̶", "👩‍👩‍👧‍👦", "🏴\U000e0067\U000e0062\U000e007f", "🇩🇪🇫", "👍🏿",
    "𝔘𝔫𝔦", "ﷺ" * 20, "ﬁ", "İıſ", "ＦＵＬＬ", "\U0001f3f3\ufe0f\u200d\U0001f308", "\u1f600",
)  # fmt: skip
LONG = (
    "x" * 10_000, "<b data-owned>" * 700, "日" * 10_000, "a " * 5_000, "\u202e" * 10_000, "[" * 10_000,
)  # fmt: skip


def _raw() -> list[str]:
    handlers = [
        f"{_CLOSERS[(i + j) % len(_CLOSERS)]}<{tag} data-owned on{event}={RUN}>"
        for i, tag in enumerate(_TAGS)
        for j, event in enumerate(_EVENTS)
    ]
    closed = [closer + script for closer in _CLOSERS[1:] for script in _SCRIPTS[:2]]
    quoted = [f"{quote} data-owned on{event}={RUN} x={quote}" for quote in ('"', "'", "`", "") for event in _EVENTS[:3]]
    several = (_SCRIPTS, _URLS, _MARKDOWN, _TEMPLATES, _STYLES, _UNSEEN, _SCRIPTS_OF_PEOPLE)
    return [*handlers, *closed, *quoted, *(text for some in several for text in some), *LONG]


CORPUS = [f"{text}¤{number}¤" for number, text in enumerate(_raw())]
SHORT = [text for text in CORPUS if len(text) < 1000]


def every_view(texts: Sequence[str] = CORPUS) -> list[views.View]:
    """Views of every kind, which together hold every text as title, label, token, remark, unit, group and cell."""
    short = [text for text in texts if len(text) < 1000]
    marks = [Mark(label=text, token=bool(place % 2)) for place, text in enumerate(short)]
    tokens = tuple(TokenMark(text=text, value=0.5) for text in texts)
    rows = -(-len(short) // 20)
    grid = tuple(tuple((*short, *[""] * 20)[row * 20 : row * 20 + 20]) for row in range(rows))
    first = short[0]
    nodes = tuple(
        Node(id=text, rank=place % 9, label=text, token=bool(place % 2), group=text)
        for place, text in enumerate(short[:60])
    )
    nodes += (Node(id="end", rank=9, label="end"),)
    return [
        *(
            views.Bars(title=text, caption=text, unit=text, items=(Bar(label=text, value=1.0, remark=text),))
            for text in short
        ),
        views.Bars(
            title=first, unit="u", items=tuple(Bar(label=text, token=True, value=1.0, remark=text) for text in texts)
        ),
        views.Heatmap(
            title=first,
            unit=first,
            rows=tuple(marks[:rows]),
            columns=tuple((marks * 2)[rows : rows + 20]),
            tokens=grid,
            values=((0.5,) * 20,) * rows,
        ),
        views.Heatmap(
            title=first, unit="u", rows=tuple(marks), columns=tuple(marks[:8]), values=((0.5,) * 8,) * len(marks)
        ),
        views.HeadGrid(title=first, caption=first, unit=first, values=((0.5, -1.0),)),
        views.Tokens(title=first, unit=first, items=tokens, marked=0),
        views.Lines(
            title=first,
            unit=first,
            x=tuple(marks[:24]),
            series=tuple(Series(label=m.label, token=m.token, values=(0.5,) * len(marks[:24])) for m in marks[:40]),
        ),
        views.Arcs(
            title=first,
            unit=first,
            items=tokens[:60],
            arcs=tuple(Arc(source=n, target=0, value=1.0) for n in range(min(60, len(tokens)))),
        ),
        views.Graph(
            title=first,
            unit=first,
            nodes=nodes,
            edges=tuple(Edge(source=n.id, target="end", value=1.0) for n in nodes[:-1]),
        ),
        *(
            views.Scatter(
                title=first,
                axes=(first, short[1]),
                points=tuple(Point(label=t, x=n, y=n, group=t) for n, t in enumerate(short[at : at + 30])),
            )
            for at in range(0, 60, 30)
        ),
        views.Table(
            title=first,
            columns=(Column(name=first), Column(name=first, token=True)),
            rows=tuple(Row(cells=(t, t)) for t in texts),
        ),
    ]
