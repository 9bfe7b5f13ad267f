"""How often a model is right: exact, greedy, every token of the answer."""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.world import Case

BATCH = 32


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])  # pyright: ignore[reportArgumentType, reportReturnType]


def ids_of(tokenizer: PreTrainedTokenizerBase, case: Case, index: int) -> tuple[list[int], list[int]]:
    """Ids of prompt and answer of the case of this index; every second prompt begins with the end-of-text token."""
    if draws := case.info.get("draws"):
        row = [1 + int(draw * (len(tokenizer) - 1)) for draw in draws]
        shown = case.info["shown"]
        prompt, answer = row + row[:shown], row[shown : shown + 1]
    else:
        prompt, answer = _encode(tokenizer, case.prompt), _encode(tokenizer, case.answer)
    return ([cast(int, tokenizer.bos_token_id)] if index % 2 else []) + prompt, answer


@torch.inference_mode()
def _logits(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, cases: Sequence[Case]
) -> Iterator[tuple[int, Tensor, list[int]]]:
    """For every case its index, the logits from which each token of the answer is predicted, and these tokens."""
    rows = [ids_of(tokenizer, case, index) for index, case in enumerate(cases)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]) + len(rows[i][1]))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        longest = max(len(rows[i][0]) + len(rows[i][1]) for i in chosen)
        ids = torch.tensor([(rows[i][0] + rows[i][1] + [0] * longest)[:longest] for i in chosen])
        # Padding stands on the right, where a causal model cannot see it from an answer.
        logits = model(ids, attention_mask=torch.ones_like(ids), use_cache=False).logits.float()
        for row, i in enumerate(chosen):
            prompt, answer = rows[i]
            yield i, logits[row, len(prompt) - 1 : len(prompt) - 1 + len(answer)], answer


def outcomes(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, cases: Sequence[Case]) -> list[bool]:
    """Whether each case is answered rightly: all tokens, or one of the accepted words where there are several."""
    result = [False] * len(cases)
    for i, logits, answer in _logits(model, tokenizer, cases):
        best = logits.argmax(-1).tolist()
        if accepted := cases[i].info.get("accepted"):
            result[i] = best[0] in {_encode(tokenizer, word)[0] for word in accepted}
        else:
            result[i] = best == answer
    return result


def accuracy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, cases: Sequence[Case]) -> float:
    """The share of cases that are answered rightly."""
    return sum(outcomes(model, tokenizer, cases)) / len(cases)


def accepted_mass(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, cases: Sequence[Case]) -> list[float]:
    """The probability that each case's accepted words have together, at the first token."""
    result = [0.0] * len(cases)
    for i, logits, _ in _logits(model, tokenizer, cases):
        words = {_encode(tokenizer, word)[0] for word in cases[i].info["accepted"]}
        result[i] = float(logits[0].softmax(-1)[sorted(words)].sum())
    return result
