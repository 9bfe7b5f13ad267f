"""Prompt pairs from files: the formats of the field, told apart by what they hold, and our own.

| format | how it becomes pairs |
| --- | --- |
| EAP-IG's greater-than (CSV: clean, corrupted, label) | as it is; years after and up to the label |
| EAP-IG's IOI (CSV: clean, corrupted, corrupted_hard) | corrupted by a third name, with variant `hard` by S2 = IO |
| feature-circuits' agreement (JSON lines: clean_prefix, patch_prefix, clean_answer, patch_answer) | as it is |
| BLiMP (JSON lines) | the one-prefix method; corrupted by the next record whose words are swapped, else others |
| ROME's known facts (JSON: prompt, subject, attribute) | another subject of the relation (Zhang and Nanda 2024) |
| LRE's relations (JSON: samples, prompt_templates) | the same; variant `zero_shot` takes the other templates |
| function vectors (JSON: input, output) | ten examples, corrupted by shuffling their outputs (Todd et al. 2024) |
| Winogender (TSV: sentid, sentence) | he or she, swapped (Vig et al. 2020); foil: how the other sentence goes on |
| pairs (CSV, JSON lines: clean, corrupted, answer, foil; `Dataset.save`) | as it is |
"""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fluoroscope import artifact, strict_json
from fluoroscope.errors import ArgumentError, ArtifactError, nearest
from fluoroscope.strict_json import NotJson
from fluoroscope.tasks import formats
from fluoroscope.tasks.formats import Format, Row
from fluoroscope.tasks.pairs import KIND, VERSION, Dataset, Pair
from fluoroscope.tasks.vocabulary import Unfit, Vocabulary

if TYPE_CHECKING:
    from fluoroscope.model import Model

KNOWN = "Known are CSV, TSV, JSON and JSON lines of the formats that fluoroscope.tasks.files lists."


def read(
    path: str | Path,
    model: "Model",
    *,
    n: int | None = None,
    seed: int = 0,
    variant: str | None = None,
    fewer: bool = False,
) -> Dataset:
    """The pairs of a file that fit the tokenizer of a model; the others are dropped with the reason, by record.

    Args:
        path: .csv, .tsv, .json or .jsonl.
        model: prompts of a pair have as many tokens as one another, answers are single tokens of it.
        n: the first so many that fit; None takes all.
        seed: for formats that draw something.
        variant: another reading of formats that have one.
        fewer: whether a file with less than `n` of them will do.

    Raises:
        ArgumentError: a variant that the format does not have, or not one pair that fits, or too few.
        ArtifactError: a file that cannot be read, is of no known format, or a record of it that breaks it; by line.
    """
    path = Path(path)
    if not path.exists():
        raise ArtifactError(f"there is no file {str(path)!r}", KNOWN)
    rows, whole = records(path)
    found = formats.recognise(rows, whole)
    if found is None:
        raise ArtifactError(f"{str(path)!r} holds no prompt pairs that we know", KNOWN)
    if variant is not None and variant not in found.variants:
        raise ArgumentError(
            f"{found.name} has no variant {variant!r}", nearest(variant, found.variants) or "Leave it out."
        )
    vocabulary = Vocabulary(model, f"{path.name} {variant} {seed}")
    pairs: list[Pair] = []
    for pair in islice(_fitting(path, found, rows, vocabulary, variant), n):
        pairs.append(pair)
    if len(pairs) < (1 if fewer else n or 1):
        if not pairs:
            why = f"no record of {path.name} is a pair for this tokenizer: {vocabulary.why()}"
            raise ArgumentError(why, "Correct them, or take a model whose tokenizer has their words whole.")
        raise ArgumentError(
            f"{path.name} has {len(pairs)} pairs for this tokenizer, {n} were asked for: {vocabulary.why()}",
            f"Ask for at most {len(pairs)}.",
        )
    name = str(whole.get("name", path.stem)) if isinstance(whole, dict) else path.stem
    return Dataset(name, tuple(pairs), vocabulary.dropped)


def _fitting(path: Path, found: Format, rows: list[Row], vocabulary: Vocabulary, variant: str | None) -> Iterator[Pair]:
    for row in rows:
        missing = [key for key in found.keys if not isinstance(row.fields.get(key), str)]
        if missing:
            raise ArtifactError(f"{str(path)!r}, {row.where}: no text {missing[0]!r}", f"{found.name} has one.")
    for row, candidates in found.pairs(rows, vocabulary, variant):
        reason = "no other record goes with it"
        try:
            for candidate in candidates:
                try:
                    yield vocabulary.fit(candidate)
                    break
                except Unfit as unfit:
                    reason = unfit.reason
            else:
                vocabulary.dropped[row.where] = reason
        except Unfit as unfit:
            vocabulary.dropped[row.where] = unfit.reason
        except ValueError as error:
            raise ArtifactError(f"{str(path)!r}, {row.where}: {error}", f"It is read as {found.name}.") from error


# ── records ──────────────────────────────────────────────────────────────────────────────────────────


def records(path: Path) -> tuple[list[Row], dict[str, Any] | None]:
    """The records of a file, and what stands around them.

    Raises:
        ArtifactError: a file that cannot be read, is no .csv, .tsv, .json or .jsonl, or has no record.
    """
    kind = path.suffix.lower()
    if kind == ".json":
        return _json_rows(path)
    if kind not in (".csv", ".tsv", ".jsonl"):
        raise ArtifactError(f"{path.name!r} is no file of prompt pairs", KNOWN)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [
                *(_json_lines(path, file) if kind == ".jsonl" else _table(path, file, "\t" if kind == ".tsv" else ","))
            ]
    except OSError as error:
        raise ArtifactError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{str(path)!r} is no UTF-8 text: {error}") from error
    if not rows:
        raise ArtifactError(f"{str(path)!r} has no record", KNOWN)
    return rows, None


def _table(path: Path, file: Any, delimiter: str) -> Iterator[Row]:
    reader = csv.DictReader(file, delimiter=delimiter, strict=True)
    try:
        for fields in reader:
            if None in fields or None in fields.values():
                columns = len(reader.fieldnames or [])
                raise ArtifactError(
                    f"{str(path)!r}, line {reader.line_num}: not the {columns} columns of the first line"
                )
            yield Row(f"line {reader.line_num}", cast("dict[str, Any]", fields))
    except csv.Error as error:
        raise ArtifactError(f"{str(path)!r}, line {reader.reader.line_num}: {error}") from error


def _json_lines(path: Path, file: Any) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield _row(path, f"line {number}", strict_json.load(line))
            except NotJson as error:
                raise ArtifactError(f"{str(path)!r}, line {number}: {error}") from error


def _json_rows(path: Path) -> tuple[list[Row], dict[str, Any] | None]:
    whole = artifact.read_json(path)
    records = whole
    if isinstance(whole, dict):
        if whole.get("kind") == KIND and whole.get("version") != VERSION:
            raise ArtifactError(f"{str(path)!r} is of version {whole.get('version')!r}, not {VERSION}", "Update it.")
        records = next((whole[key] for key in ("samples", "pairs") if key in whole), None)
    if not isinstance(records, list) or not records:
        raise ArtifactError(f"{str(path)!r} has no record", KNOWN)
    rows = [_row(path, f"record {number}", fields) for number, fields in enumerate(cast("list[Any]", records), 1)]
    return rows, cast("dict[str, Any] | None", whole if isinstance(whole, dict) else None)


def _row(path: Path, where: str, fields: Any) -> Row:
    if not isinstance(fields, dict):
        raise ArtifactError(f"{str(path)!r}, {where}: a {type(fields).__name__} is no record", KNOWN)
    return Row(where, cast("dict[str, Any]", fields))
