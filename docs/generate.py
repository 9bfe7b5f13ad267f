"""Writes the parts of the documentation that the code knows better: what stands between two markers.

    python docs/generate.py            # writes; of some pages alone, if they are named
    python docs/generate.py --check    # exits 1 and names the pages that are stale

A marked part begins with `<!-- generated:NAME -->`, ends with `<!-- end -->`, and is made by the function NAME below.
"""

import ast
import configparser
import math
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the zoo is there

from fluoroscope import aliases, architectures, artifact, invocation, registry, signature, specimen  # noqa: E402
from fluoroscope.signature import Parameter, Spec  # noqa: E402
from fluoroscope.sites import SITES  # noqa: E402

PAGES = (
    "README.md", "docs/sites.md", "docs/families.md", "docs/analyses.md", "docs/specimen.md", "docs/lab.md",
    "docs/tutorial.md",
)  # fmt: skip

EXAMPLES: dict[str, Any] = {
    "prompt": "When Mary and John went to the store, John gave a drink to",
    "text": "examples/paragraphs.txt",
    "chat": '[{"role": "user", "content": "How do I paint a wall?"}]',
    "weight": "W_Q.3.0",
    "site": "L3N7",
    "other": "When Mary and John went to the store, Mary gave a drink to",
    "clean": "When Mary and John went to the store, John gave a drink to",
    "corrupted": "When Mary and John went to the store, Mary gave a drink to",
    "receivers": ["logits"],
    "sites": ["L4H2"],
    "task": "ioi",
}
"""A value for each required parameter of any analysis, by name."""

OWN_EXAMPLES: dict[str, dict[str, Any]] = {
    "arithmetic_graph": {"prompt": "23 + 45 ="},
    "reasoning_steps": {"prompt": "The password is Bowijo. The owl lay on the hotel. Again, the password is"},
    "causal_tracing": {"prompt": "The capital of France is", "subject": "France"},
    "patchscope": {
        "prompt": "The capital of France",
        "target_prompt": "The capital of x is",
        "placeholder": "x",
    },
    "circuit": {"task": "facts", "pairs": 3},
    "discover": {"task": "facts", "pairs": 3, "heads": 3},
    "task_patching": {"task": "ioi", "pairs": 4},
    "neuron_patching": {"position": -1},
    "steering": {"prompt": "Today I feel"},
    "steered_generation": {"prompt": "Today I feel", "coefficient": -0.75},
    "fit_tuned_lens": {"file": "tuned_lens.safetensors", "steps": 10, "rows": 4, "context": 32},
    "fit_jacobian_lens": {"file": "jacobian_lens.safetensors", "rows": 4, "context": 8},
    "fit_future_lens": {"file": "future_lens.safetensors", "ahead": 2, "context": 32},
    "future_lens": {"lens": "future_lens.safetensors"},
}
"""What the examples of one analysis say besides, required or not."""

STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "says": ("next_token", {"prompt": EXAMPLES["clean"], "top_k": 3}),
    "other": ("next_token", {"prompt": EXAMPLES["corrupted"], "top_k": 3}),
    "writes": ("logit_attribution", {"prompt": EXAMPLES["clean"], "target": " Mary", "foil": " John"}),
    "moves": ("head_patching", {"clean": EXAMPLES["clean"], "corrupted": EXAMPLES["corrupted"]}),
    "places": ("activation_patching", {"clean": EXAMPLES["clean"], "corrupted": EXAMPLES["corrupted"]}),
    "paths": ("path_tree", {"clean": EXAMPLES["clean"], "corrupted": EXAMPLES["corrupted"]}),
    "pair": ("circuit", {"clean": EXAMPLES["clean"], "corrupted": EXAMPLES["corrupted"]}),
    "task": ("circuit", {"task": "ioi"}),
    "years": ("circuit", {"task": "greater_than"}),
    "all": ("discover", {"task": "greater_than"}),
}
"""The commands of the tutorial, by the names of their parts of the page."""

_LINE = 120

SPELLINGS = [
    "L9H6", "9.6", "head 9.6", "L5N123", "MLP L3", "Attn L3",
    "blocks.5.hook_resid_pre", "blocks.5.hook_resid_mid", "blocks.5.hook_resid_post", "blocks.5.hook_attn_out",
    "blocks.5.hook_mlp_out", "blocks.5.attn.hook_q", "blocks.5.attn.hook_rot_q", "blocks.5.attn.hook_z",
    "blocks.5.attn.hook_result", "blocks.5.attn.hook_attn_scores", "blocks.5.attn.hook_pattern",
    "blocks.5.mlp.hook_post", "hook_embed", "hook_pos_embed",
    "model.layers.5", "model.layers.5.self_attn", "model.layers.5.self_attn.o_proj", "model.layers.5.mlp",
    "model.layers.5.mlp.down_proj", "transformer.h.5", "transformer.h.5.attn.c_proj", "model.embed_tokens",
    "transformer.wpe", "model.norm", "lm_head", "layers.5", "layers.5.output", "layers.5.self_attn.attention_weights",
]  # fmt: skip
"""Foreign names that the page of sites shows; each is resolved while the page is made."""


BEES = "Why do bees buzz?"
"""The prompt of HexRay's own README."""


# ── sites ────────────────────────────────────────────────────────────────────────────────────────────


def sites() -> str:
    """The vocabulary."""
    rows = [
        [
            f"`{name}.L`" if kind.layered else f"`{name}`",
            " ".join(kind.axes),
            kind.unit or "",
            "yes" if kind.writable else "no",
            f"{kind.meaning}. {kind.why_not}".strip() if kind.why_not else kind.meaning,
        ]
        for name, kind in SITES.items()
    ]
    return table(["site", "axes", "unit", "write", "meaning"], rows)


def spellings() -> str:
    """Foreign names, and the site each of them is."""
    rows: list[list[str]] = []
    for spelling in SPELLINGS:
        site, claim = aliases.resolve_claim(spelling)
        note = f"refused where `{claim.module}` does not output exactly this" if claim.module else ""
        rows.append([f"`{spelling}`", f"`{site}`", note])
    return table(["spelling", "site", "but"], rows)


# ── the lab ──────────────────────────────────────────────────────────────────────────────────────────


def lab_settings() -> str:
    """Every setting of the lab, its variables, and what it is without them."""
    from dataclasses import fields

    from fluoroscope.server import settings

    said = signature._descriptions(settings.Settings.__doc__ or "")
    rows = [
        [
            "<br>".join(f"`{variable}`" for variable in settings.variables(each.name)),
            "" if each.default in (None, ()) else str(each.default),
            said[each.name],
        ]
        for each in fields(settings.Settings)
    ]
    return table(["variable", "default", "what"], rows)


# ── families ─────────────────────────────────────────────────────────────────────────────────────────


def families() -> str:
    """Every family of the zoo, loaded; sites that fare alike everywhere share a column, types of one file a row."""
    reasons: list[str] = []
    rows = {case: {name: _cell(found, name, reasons) for name in SITES} for case, found in _zoo()}
    same: dict[tuple[str, ...], list[str]] = {}
    for name in SITES:
        same.setdefault(tuple(row[name] for row in rows.values()), []).append(name)
    columns = list(same.values())
    files = architectures.model_types()
    lines: dict[tuple[str, ...], list[str]] = {}
    for kind, cases in groupby(sorted(rows), key=lambda case: case.partition("-")[0]):
        listed = list(cases)
        alike = all(rows[case] == rows[listed[0]] for case in listed)
        for case in listed[:1] if alike else listed:
            cells = [rows[case][column[0]] for column in columns]
            lines.setdefault((f"{files[kind]}.py", *cells), []).append(f"`{kind if alike else case}`")
    header = ["model types", "file", *("<br>".join(f"`{name}`" for name in column) for column in columns)]
    notes = "\n".join(f"{index}. {reason}" for index, reason in enumerate(reasons, 1))
    body = sorted([" ".join(names), *cells] for cells, names in lines.items())
    return f"{table(header, body)}\n\n{notes}"


def _zoo() -> Iterator[tuple[str, Any]]:
    import torch
    from transformers.utils import logging

    from architectures.zoo import CASES, build
    from fluoroscope.loading import load

    torch.set_num_threads(1)
    logging.set_verbosity_error()
    for case in sorted(CASES):
        yield case, load(build(case))


def _cell(found: Any, name: str, reasons: list[str]) -> str:
    offered = found.sites(name)
    layers = range(found.n_layers) if SITES[name].layered else [None]
    why = [re.sub(r"\bblock \d+\b", "the block", found.unavailable.get((name, layer), "")) for layer in layers]
    for reason in why:
        if reason and reason not in reasons:
            reasons.append(reason)
    notes = ",".join(str(index) for index, reason in enumerate(reasons, 1) if reason in why)
    if len(offered) == len(layers):
        return "✓"
    return f"some <sup>{notes}</sup>" if offered else f"– <sup>{notes}</sup>"


def family_count() -> str:
    """How many model types load as they are."""
    kinds = architectures.model_types()
    return f"{len(kinds)} model types in {len(set(kinds.values()))} files."


# ── analyses ─────────────────────────────────────────────────────────────────────────────────────────


def analyses() -> str:
    """Every analysis: what it answers, its parameters, how to run it."""
    groups = {
        title: [_entry(spec) for spec in specs if spec.kind != "plugin"] for title, specs in registry.themes().items()
    }
    return "\n\n".join("\n\n".join((f"## {title}", *entries)) for title, entries in groups.items() if entries)


def _entry(spec: Spec) -> str:
    own = OWN_EXAMPLES.get(spec.name, {})
    required = {item.name: own.get(item.name) or _example(spec, item) for item in spec.parameters if item.required}
    given = required | {name: value for name, value in own.items() if name not in required}
    command = invocation.command(spec, given)
    call = invocation.call(spec, given, line=_LINE - len(".summary()"))
    rows = [
        [f"`{item.name}`", _type(item), "required" if item.required else f"`{item.default}`", item.help]
        for item in spec.parameters
    ]
    return "\n\n".join(
        [
            f"### {spec.command}",
            spec.doc,
            table(["parameter", "type", "default", "meaning"], rows),
            f"```bash\n{command}\n```",
            f"```python\nfrom {spec.module} import {spec.name}\n\n{call}.summary()\n```",
            f"Returns `{spec.result}`.",
        ]
    )


def _example(spec: Spec, item: Parameter) -> Any:
    if item.name not in EXAMPLES:
        raise SystemExit(f"{spec.command} needs {item.name!r}: give EXAMPLES in docs/generate.py a value for it")
    return EXAMPLES[item.name]


def _type(item: Parameter) -> str:
    kind = " or ".join(f'`"{choice}"`' for choice in item.choices) or item.type
    return f"{kind} or None" if item.optional else kind


# ── the specimen ─────────────────────────────────────────────────────────────────────────────────────


def cards() -> str:
    """The cards of the embedded models, each heading one level down."""
    return "\n\n".join(re.sub(r"^#", "##", specimen.card(name), flags=re.MULTILINE).strip() for name in specimen.NAMES)


def lenses() -> str:
    """How far the lenses beside the embedded models are from the prediction, as `training.lenses` found and kept it."""
    return "\n\n".join(map(_lenses_of, specimen.NAMES))


def _lenses_of(name: str) -> str:
    tuned, jacobian = (_meta(specimen.folder(name) / f"{kind}_lens.safetensors") for kind in ("tuned", "jacobian"))
    told = (
        f"**{name}**: the tuned lens was fitted to {tuned['tokens']:,} tokens in {tuned['steps']} steps of "
        f"{tuned['rows']} documents, the Jacobian lens is the mean over a token each of {jacobian['rows']} documents; "
        f"both are judged on {tuned['held_out']:,} tokens of other documents."
    )
    kinds = ("logit lens", "tuned lens", "Jacobian lens")
    header = ["read", *(f"KL, {kind}" for kind in kinds), *(f"agrees, {kind}" for kind in kinds), "stable"]
    rows: list[list[str]] = []
    for one, other, stable in zip(tuned["judged"], jacobian["judged"], jacobian["stability"], strict=True):
        site = one["site"]
        figures = [one["plain"], one["fitted"], other["fitted"]]
        figures += [one["plain_agrees"], one["fitted_agrees"], other["fitted_agrees"], stable]
        rows.append([f"`{site}`", *(f"{figure:.3f}" for figure in figures)])
    return f"{told}\n\n{table(header, rows)}"


def _meta(path: Path) -> dict[str, Any]:
    """What a file of tensors says about itself."""
    return artifact.read_tensors(path)[1]


def demo() -> str:
    """What `fluoro explain` says of the specimen, without the pictures."""
    import fluoroscope
    from fluoroscope.workflows.explain import explain

    found = explain(fluoroscope.load(), EXAMPLES["prompt"])
    answers = [each.summary() for each in (found, found.lens, found.check) if each]
    shown = [textwrap.fill(answer, 110, initial_indent="- ", subsequent_indent="  ") for answer in answers]
    return "\n".join(["```text", f'$ fluoro explain "{EXAMPLES["prompt"]}"', *shown, "```"])


def step(name: str) -> str:
    """A command of the tutorial and what it says."""
    import fluoroscope

    analysis, given = STEPS[name]
    spec = registry.get(analysis)
    answer = registry.run(analysis, fluoroscope.load(), **given).summary()
    command = f"{invocation.command(spec, given)} --quiet"
    return f"```bash\n{command}\n```\n\n```text\n{textwrap.fill(answer, 110)}\n```"


def hexray() -> str:
    """What `hexray --top-k-attribution` prints about the specimen."""
    import fluoroscope
    from fluoroscope.cli import transcript

    found = registry.run("logit_attribution", fluoroscope.load(), prompt=BEES, grain="layer", top_k=5)
    lines = map(str, transcript.contributors(found, -1))
    return "\n".join(["```text", f'$ hexray --prompt "{BEES}" --top-k-attribution 5', *lines, "```"])


_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


def _measured_again(old: str, new: str) -> bool:
    """Whether two texts differ only as far as the last digits of numbers do from machine to machine."""
    if " ".join(_NUMBER.sub("0", old).split()) != " ".join(_NUMBER.sub("0", new).split()):
        return False
    pairs = zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=0.01, abs_tol=0.002) for a, b in pairs)


# ── the tree ─────────────────────────────────────────────────────────────────────────────────────────


def tree() -> str:
    """The files with the first sentence of each, from the ground up; a folder of data is one line."""
    package = ROOT / "src/fluoroscope"
    lines = ["src/fluoroscope/"]
    for name in reversed(_layers()):
        path = package / f"{name}.py"
        if path.exists():
            lines.append(_line(1, path.name, path))
            continue
        files = sorted((package / name).glob("[!_]*.py"))
        lines.append(_line(1, f"{name}/", package / name / "__init__.py"))
        if name == "architectures":
            lines.append(f"{'    …':<30}{len(files)} files, such as llama.py")
        else:
            lines += [_line(2, file.name, file) for file in files]
    return "```\n" + "\n".join(lines) + "\n```"


def _layers() -> list[str]:
    """The modules from the top down, as the import contract orders them."""
    contract = configparser.ConfigParser()
    contract.read(ROOT / ".importlinter", encoding="utf8")
    names = re.split(r"[|\s]+", contract["importlinter:contract:layers"]["layers"].strip())
    package = ROOT / "src/fluoroscope"
    here = [name.strip("()") for name in names]
    return [name for name in here if (package / f"{name}.py").exists() or (package / name).is_dir()]


def _line(depth: int, name: str, path: Path) -> str:
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf8"))) or ""
    paragraph = " ".join(doc.partition("\n\n")[0].split())
    sentence = re.match(r".*?[.?!](?= |$)", paragraph)
    return f"{'  ' * depth + name:<30}{sentence[0] if sentence else paragraph}"


# ── pages ────────────────────────────────────────────────────────────────────────────────────────────


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


PARTS: dict[str, Callable[[], str]] = {
    "lab_settings": lab_settings,
    "sites": sites,
    "spellings": spellings,
    "families": families,
    "family_count": family_count,
    "analyses": analyses,
    "cards": cards,
    "lenses": lenses,
    "demo": demo,
    "hexray": hexray,
    "tree": tree,
    **{f"step_{name}": partial(step, name) for name in STEPS},
}
_MEASURED = re.compile(r"demo|hexray|step_\w+")
_MARKED = re.compile(r"(<!-- generated:(\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def fresh(page: str) -> str:
    """The text of a page with every marked part made anew."""
    text = (ROOT / page).read_text(encoding="utf8")
    return _MARKED.sub(_remade, text)


def _remade(match: re.Match[str]) -> str:
    start, name, old, end = match.groups()
    new = PARTS[name]() + "\n"
    return start + (old if _MEASURED.fullmatch(name) and _measured_again(old, new) else new) + end


def stale(pages: Sequence[str] = PAGES) -> dict[str, str]:
    """The pages whose marked parts are not what the code says, with what they should be."""
    made = {page: fresh(page) for page in pages}
    return {page: text for page, text in made.items() if text != (ROOT / page).read_text(encoding="utf8")}


def main(arguments: list[str]) -> int:
    """The exit status of the command."""
    named = [each for each in arguments if each != "--check"]
    if not set(named) <= set(PAGES):
        print(__doc__)
        return 2
    found = stale(named or PAGES)
    for page, text in found.items():
        if "--check" in arguments:
            print(f"{page} is stale: run python docs/generate.py")
        else:
            (ROOT / page).write_text(text, encoding="utf8")
            print(f"wrote {page}")
    return 1 if found and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
