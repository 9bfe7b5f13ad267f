"""mlxterp's document: every signature and default it states, and every block of our page about it, on a small Llama."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from shared import SHARED, needs_shared

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mlxterp.md"
HERE = "fluoroscope.interpretable"
NEEDED = inspect.Parameter.empty
PATTERN = {"attention_pattern": NEEDED}
LENS: dict[str, Any] = {
    "top_k": 1, "layers": None, "position": None, "plot": False, "max_display_tokens": 15, "figsize": (16, 10),
    "cmap": "viridis", "font_family": None, "final_norm": None, "skip_norm": False,
}  # fmt: skip
LOGITS = dict.fromkeys(("patched_logits", "clean_logits", "corrupted_logits"), NEEDED)
PAIR = dict.fromkeys(("model", "clean", "corrupted"), NEEDED)

DOCUMENTED: dict[str, dict[str, Any]] = {
    "InterpretableModel": {
        "model": NEEDED, "tokenizer": None, "layer_attr": "layers", "embedding_path": None, "norm_path": None,
        "lm_head_path": None,
    },
    "InterpretableModel.trace": {"inputs": NEEDED, "interventions": None},
    "InterpretableModel.encode": {"text": NEEDED},
    "InterpretableModel.decode": {"tokens": NEEDED},
    "InterpretableModel.encode_batch": {"texts": NEEDED},
    "InterpretableModel.token_to_str": {"token_id": NEEDED},
    "InterpretableModel.to_str_tokens": {"input": NEEDED, "prepend_bos": False},
    "InterpretableModel.get_token_predictions": {
        "hidden_state": NEEDED, "top_k": 10, "return_scores": False, "embedding_layer": None, "lm_head": None,
    },
    "InterpretableModel.logit_lens": {"text": NEEDED, **LENS},
    "InterpretableModel.tuned_lens": {"text": NEEDED, "tuned_lens": NEEDED, **LENS},
    "InterpretableModel.train_tuned_lens": {
        "dataset": NEEDED, "num_steps": 250, "learning_rate": 1.0, "momentum": 0.9, "max_seq_len": 2048,
        "gradient_clip": 1.0, "save_path": None, "verbose": True, "callback": None,
    },
    "InterpretableModel.load_tuned_lens": {"path": NEEDED},
    "InterpretableModel.activation_patching": {
        "clean_text": NEEDED, "corrupted_text": NEEDED, "component": "mlp", "layers": None, "metric": "l2",
        "plot": False, "figsize": (12, 8), "cmap": "RdBu_r",
    },
    "InterpretableModel.named_modules": {},
    "core.Trace.get": {"name": NEEDED},
    "core.Trace.get_activation": {"name": NEEDED},
    "core.OutputProxy.save": {},
    "interventions.zero_out": {"activation": NEEDED},
    "interventions.scale": {"factor": NEEDED},
    "interventions.add_vector": {"vector": NEEDED},
    "interventions.replace_with": {"value": NEEDED},
    "interventions.clamp": {"min_val": None, "max_val": None},
    "interventions.noise": {"std": 0.1},
    "interventions.compose": {},
    "core.intervention.replace_at_positions": {"value": NEEDED, "positions": NEEDED},
    "get_activations": {"model": NEEDED, "prompts": NEEDED, "layers": None, "positions": -1},
    "batch_get_activations": {"model": NEEDED, "prompts": NEEDED, "layers": None, "positions": -1, "batch_size": 8},
    "collect_activations": {"model": NEEDED, "inputs": NEEDED, "layers": None},
    "core.ActivationCache.get": {"name": NEEDED},
    "core.ModuleResolver": {"model": NEEDED, "embedding_path": None, "norm_path": None, "lm_head_path": None},
    "TunedLens": {"num_layers": NEEDED, "hidden_dim": NEEDED},
    "TunedLens.__call__": {"h": NEEDED, "layer_idx": NEEDED},
    "TunedLens.save": {"path": NEEDED},
    "TunedLens.load": {"path": NEEDED},
    "core.normalize_layer_key": {"key": NEEDED},
    "core.find_layer_key_pattern": {"activations": NEEDED, "layer_idx": NEEDED, "component": None},
    "core.module_resolver.resolve_component": {"component": NEEDED, "layer_idx": NEEDED, "activations": NEEDED},
    "visualization.get_attention_patterns": {"trace": NEEDED, "layers": None},
    "visualization.attention_heatmap": {
        "attention": NEEDED, "tokens": NEEDED, "head_idx": 0, "title": None, "colorscale": "Blues",
        "backend": "matplotlib", "mask_upper_tri": True, "figsize": (8, 6),
    },
    "visualization.attention_from_trace": {
        "trace": NEEDED, "tokens": NEEDED, "layers": None, "heads": None, "mode": "single", "head_notation": "LH",
        "config": None,
    },
    "visualization.AttentionVisualizationConfig": {
        "colorscale": "Blues", "mask_upper_tri": True, "backend": "auto", "figsize": (10, 8), "show_colorbar": True,
        "font_size": 10,
    },
    "visualization.induction_score": {**PATTERN, "seq_len": NEEDED},
    "visualization.previous_token_score": PATTERN,
    "visualization.first_token_score": PATTERN,
    "visualization.copying_score": {"ov_circuit": NEEDED, "unembedding": None},
    "visualization.AttentionPatternDetector": {
        "induction_threshold": 0.4, "previous_token_threshold": 0.5, "first_token_threshold": 0.3,
        "current_token_threshold": 0.3,
    },
    "visualization.AttentionPatternDetector.analyze_head": {**PATTERN, "seq_len_for_induction": None},
    "visualization.AttentionPatternDetector.classify_head": {**PATTERN, "seq_len_for_induction": None},
    "visualization.detect_head_types": {"model": NEEDED, "text": NEEDED, "threshold": 0.4, "layers": None},
    "visualization.detect_induction_heads": {
        "model": NEEDED, "n_random_tokens": 50, "n_repeats": 2, "threshold": 0.4, "layers": None, "seed": 42,
    },
    "visualization.patching.plot_patching_result": {
        "result": NEEDED, "figsize": (12, 6), "cmap": "RdBu_r", "title": None,
    },
    "visualization.patching.plot_patching_comparison": {"results": NEEDED, "figsize": (14, 6), "title": None},
    "metrics.logit_diff": {**LOGITS, "correct_token": NEEDED, "incorrect_token": NEEDED},
    "metrics.kl_divergence": LOGITS,
    "metrics.cross_entropy_diff": {**LOGITS, "target_token": None},
    "metrics.l2_distance": LOGITS,
    "metrics.cosine_distance": LOGITS,
    "metrics.get_metric": {"metric": NEEDED},
    "results.PatchingResult.top_components": {"k": 5},
    "results.CircuitResult.to_graph": {},
    "results.WorkflowResult.get_step": {"name": NEEDED},
    "causal.activation_patching": {
        **PAIR, "layers": None, "component": "resid_post", "metric": "l2", "positions": None, "metric_kwargs": None,
        "verbose": False,
    },
    "causal.CausalTrace.patch": {"component": NEEDED, "positions": None, "layer": None},
    "causal.CausalTrace.metric": {"metric_fn": "l2"},
    "causal.CausalTrace.get_clean_activation": {"component": NEEDED, "layer": None},
    "causal.ResidualStreamAccessor": {"activations": NEEDED},
    "causal.direct_logit_attribution": {
        "model": NEEDED, "text": NEEDED, "target_token": None, "position": -1, "layers": None,
    },
    "causal.attribution_patching": {
        **PAIR, "component": "resid_post", "metric": "l2", "n_projections": 1, "eps": 1e-3,
    },
    "causal.path_patching": {**PAIR, "sender": NEEDED, "receiver": None, "metric": "l2"},
    "causal.acdc": {**PAIR, "threshold": 0.01, "components": ("attn", "mlp"), "layers": None},
    "generation.generate": {
        "model": NEEDED, "prompt": NEEDED, "max_tokens": 50, "temperature": 0.0, "top_k": 0, "top_p": 1.0,
        "interventions": None, "stop_tokens": None, "callback": None,
    },
    "conversation.Turn": dict.fromkeys(
        ("index", "role", "full_start", "full_end", "content_start", "content_end"), NEEDED
    ),
    "conversation.detect_turns": {"tokenizer": NEEDED, "messages": NEEDED},
    "conversation.TurnList.by_role": {"role": NEEDED},
    "conversation.ConversationTrace.get_turn_activation": {
        "turn_idx": NEEDED, "component": NEEDED, "content_only": True,
    },
    "conversation.ConversationTrace.cross_turn_attention": {"layer": NEEDED, "head": NEEDED},
    "workflows.behavior_localization": {
        **PAIR, "metric": "l2", "metric_kwargs": None, "steps": ("dla", "patch_mlp", "patch_attn", "patch_heads"),
        "top_k": 5, "verbose": True,
    },
    "workflows.circuit_discovery": {
        **PAIR, "metric": "l2", "metric_kwargs": None, "threshold": 0.01,
        "steps": ("attribution", "activation", "acdc"), "verbose": True,
    },
}  # fmt: skip
"""Dotted name below the package -> documented parameters in order, with their defaults."""

ATTRIBUTES = {
    "InterpretableModel": ["layers", "output", "tokenizer", "vocab_size", "causal_trace", "conversation_trace"],
    "core.Trace": ["output", "activations"],
    "core.ModuleResolver": [
        "get_embedding_layer", "get_final_norm", "get_lm_head", "get_output_projection", "clear_cache",
    ],
    "core.ModuleProxy": ["output"],
    "core.LayerListProxy": ["__getitem__", "__len__", "__iter__"],
    "core.ActivationCache": ["get", "keys", "__contains__", "__len__"],
    "interventions.InterventionComposer": ["add", "build"],
    "results.AnalysisResult": ["data", "metadata", "result_type", "summary", "to_json", "to_markdown", "plot"],
    "results.PatchingResult": ["effect_matrix", "top_components"],
    "results.AttributionResult": ["attribution_scores"],
    "results.DLAResult": ["head_contributions", "mlp_contributions"],
    "results.GenerationResult": ["token_logits"],
    "results.ConversationResult": ["cross_turn_attention"],
    "results.WorkflowResult": ["steps", "get_step"],
    "causal.ResidualStreamAccessor": [
        "resid_pre", "resid_post", "resid_mid", "attn_contribution", "mlp_contribution", "layer_contribution",
        "available_layers",
    ],
    "conversation.TurnList": ["by_role", "roles", "content_positions"],
    "TunedLens": ["num_layers", "hidden_dim", "translators"],
}  # fmt: skip
FIELDS = {
    "results.PatchingResult": ["layers", "component", "metric_name"],
    "results.AttributionResult": ["layers", "component", "method"],
    "results.DLAResult": ["target_token", "target_token_str"],
    "results.GenerationResult": ["text", "tokens", "prompt"],
    "results.ConversationResult": ["turns"],
    "results.CircuitResult": ["nodes", "edges", "threshold"],
    "results.WorkflowResult": ["narrative"],
}


def found(name: str) -> Any:
    """What a dotted name below the package is."""
    parts, value = name.split("."), importlib.import_module(HERE)
    for place, part in enumerate(parts):
        if not hasattr(value, part):
            value = importlib.import_module(".".join([HERE, *parts[: place + 1]]))
        else:
            value = getattr(value, part)
    return value


@pytest.mark.parametrize("name", DOCUMENTED)
def test_signatures_and_defaults_are_the_documents(name: str) -> None:
    """Documented parameters come first, in their order; whatever we add may be left out."""
    parameters = dict(inspect.signature(found(name)).parameters)
    parameters.pop("self", None)
    wanted = DOCUMENTED[name]
    first = list(parameters)[: len(wanted)]
    assert first == list(wanted)
    assert {key: parameters[key].default for key in first} == wanted
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    added = [each for key, each in parameters.items() if key not in wanted and each.kind not in kinds]
    assert all(each.default is not NEEDED for each in added)


def test_attributes_and_fields_are_the_documents() -> None:
    missing = [f"{name}.{each}" for name, names in ATTRIBUTES.items() for each in names if not _has(found(name), each)]
    missing += [f"{name}.{each}" for name, names in FIELDS.items() for each in names
                if each not in found(name).model_fields]  # fmt: skip
    assert not missing


def _has(kind: Any, name: str) -> bool:
    return hasattr(kind, name) or re.search(rf"self\.{name}\b.* = ", inspect.getsource(kind)) is not None


@needs_shared
def test_every_block_of_the_page_runs_on_a_llama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model and tokenizer aside as they stand; the structure tests run the page on the embedded model."""
    folder = str(SHARED / "models" / "stories260k")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"FOLDER": folder, "TOKENIZER": tokenizer}
    text = PAGE.read_text(encoding="utf8").replace('"specimen"', "FOLDER, tokenizer=TOKENIZER")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 20
    for block in blocks:
        exec(compile(block, "docs/mlxterp.md", "exec"), names)
