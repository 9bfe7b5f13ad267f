"""Trains a model of the world: `python -m training.trainer specimen --out DIR`; run again, it goes on."""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from training import score, tokenizer, world
from training.batches import Batch, Batches
from training.kernels import cross_entropy, lookup
from training.masters import Masters, Silence, silent_blocks
from training.recipe import RECIPES, Recipe, untrained

# Without these every large tensor is fetched from and given back to the system, at a fifth of the time.
SURROUNDINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(512 << 20),
}
PARTS = 4
CASES_WHILE_TRAINING = 60
LAST_RATE = 0.02
RESTART_RATE = 0.4


def rate_at(step: int, recipe: Recipe) -> float:
    """The share of the full learning rates: a linear rise, then a linear fall, and a lower one after each restart.

    Warm restarts: Loshchilov & Hutter 2017, "SGDR".
    """
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    bounds = (recipe.warm_up, *recipe.restarts, recipe.steps)
    begin, end = next((pair for pair in pairwise(bounds) if step < pair[1]), bounds[-2:])
    height = 1.0 if begin == recipe.warm_up else RESTART_RATE
    left = (end - step) / max(1, end - begin)
    return LAST_RATE + (height - LAST_RATE) * left


class Training:
    """One run in one folder: tokenizer, log, checkpoint, snapshots and at last the model."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "tokenizer.json").exists():
            tokenizer.save(folder)
        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
        torch.manual_seed(recipe.seed)
        # Each part of a batch is computed by one thread from beginning to end: a busy neighbour then costs no more than
        # what he takes, and the number of threads does not change the result.
        torch.set_num_threads(1)
        self.pool = ThreadPoolExecutor(recipe.threads)
        self.model = untrained(recipe)
        for block in silent_blocks(self.model, recipe.silent_mlps):
            block.mlp = Silence()
        self.masters = Masters(self.model, recipe)
        self.batches = Batches(recipe, self.tokenizer)
        self.done = 0
        if (folder / "checkpoint.pt").exists():
            state = torch.load(folder / "checkpoint.pt", weights_only=True)
            self.masters.restore(state["masters"])
            self.done = state["step"]

    def step(self) -> tuple[float, float]:
        """One step; its loss and the norm of its gradient."""
        batch = self.batches(self.done)
        scale = 1 / float(batch.weights.sum())
        parts = [Batch(*part) for part in zip(*(tensor.chunk(PARTS) for tensor in batch), strict=True)]
        results = list(self.pool.map(self.gradients, parts, [scale] * len(parts)))
        norm = self.masters.step([its for _, its in results], rate_at(self.done, self.recipe), self.pool)
        self.done += 1
        return sum(loss for loss, _ in results), norm

    def gradients(self, batch: Batch, scale: float) -> tuple[float, tuple[torch.Tensor, ...]]:
        """The loss of a part of a batch, times `scale`, and its gradients."""
        master, table = self.masters.embedding, self.masters.table
        inputs = lookup(master, table, batch.inputs)
        hidden = self.model.base_model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        loss = cross_entropy(hidden.flatten(0, 1), master, table, batch.targets.flatten(), batch.weights.flatten())
        loss = loss * scale
        return loss.item(), torch.autograd.grad(loss, self.masters.leaves())

    def run(self, until: int | None = None) -> str:
        """Train to the end, or to a step of no consequence to the result; the hash of the weights."""
        until = self.recipe.steps if until is None else until
        losses, started, recipe = list[float](), time.perf_counter(), self.recipe
        while self.done < until:
            loss, norm = self.step()
            losses.append(loss)
            if self.done % 50 == 0 or self.done == until:
                seconds, cpu = time.perf_counter() - started, time.process_time()
                speed = len(losses) * recipe.tokens / seconds
                mean = sum(losses) / len(losses)
                self.log(loss=round(mean, 4), norm=round(norm, 3), tokens_per_second=round(speed), cpu=round(cpu))
                losses, started = [], time.perf_counter()
            if self.done in recipe.snapshots:
                self.export(self.folder / f"step-{self.done:06d}")
            if recipe.score_every and self.done % recipe.score_every == 0:
                self.log(scores=self.scores())
                started = time.perf_counter()
            if self.done % recipe.check_every == 0 or self.done == until:
                self.save()
        if self.done == recipe.steps:
            self.export(self.folder / "model")
        digest = self.masters.digest()
        self.log(digest=digest)
        return digest

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        partial = self.folder / "checkpoint.partial"
        with partial.open("wb") as file:
            torch.save({"step": self.done, "masters": self.masters.state()}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / "checkpoint.pt")

    def finished(self, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        """The model as it is now, in Hugging Face's own form."""
        model = untrained(self.recipe)
        silent_blocks(model, self.recipe.silent_mlps)
        self.masters.write(model)
        model.config.use_cache = True
        model.set_attn_implementation("sdpa")
        if self.recipe.family == "gpt2":
            model.config.activation_function = "gelu_new"
        model.to(dtype=dtype)  # pyright: ignore[reportCallIssue]
        return model.eval()

    def export(self, folder: Path) -> None:
        """Write the model in float16 with its tokenizer."""
        self.finished(torch.float16).save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def scores(self) -> dict[str, float]:
        """A quick look at every behaviour."""
        model = self.finished()
        chosen = {name: world.cases(name, CASES_WHILE_TRAINING, seed=7) for name in world.BEHAVIOURS}
        result = {name: round(score.accuracy(model, self.tokenizer, cases), 3) for name, cases in chosen.items()}
        years = score.accepted_mass(model, self.tokenizer, chosen["greater_than"])
        presets = score.accuracy(model, self.tokenizer, world.PRESETS)
        return result | {"greater_than_mass": round(sum(years) / len(years), 3), "presets": round(presets, 3)}

    def log(self, **entry: Any) -> None:
        """Add a line to the log."""
        line = json.dumps({"step": self.done, "time": round(time.time()), **entry})
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an unfinished run there goes on")
    parser.add_argument("--until", type=int, help="stop after this step of the schedule, for the early snapshots")
    parser.add_argument("--steps", type=int, help="length of the schedule")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in SURROUNDINGS.items()):
        os.execve(sys.executable, [sys.executable, "-m", "training.trainer", *sys.argv[1:]], os.environ | SURROUNDINGS)  # noqa: S606
    logging.disable_progress_bar()
    changes = {name: value for name in ("steps", "threads", "seed") if (value := getattr(arguments, name)) is not None}
    Training(replace(RECIPES[arguments.recipe], **changes), arguments.out).run(arguments.until)


if __name__ == "__main__":
    main()
