"""Visualization under mlxterp's names: attention as pictures, and what kind of head a pattern is."""

from fluoroscope.interpretable.visualization.attention import (
    AttentionVisualizationConfig,
    attention_from_trace,
    attention_heatmap,
    get_attention_patterns,
)
from fluoroscope.interpretable.visualization.heads import (
    AttentionPatternDetector,
    HeadScore,
    copying_score,
    current_token_score,
    detect_head_types,
    detect_induction_heads,
    find_attention_pattern,
    first_token_score,
    induction_score,
    previous_token_score,
)

__all__ = [
    "AttentionPatternDetector",
    "AttentionVisualizationConfig",
    "HeadScore",
    "attention_from_trace",
    "attention_heatmap",
    "copying_score",
    "current_token_score",
    "detect_head_types",
    "detect_induction_heads",
    "find_attention_pattern",
    "first_token_score",
    "get_attention_patterns",
    "induction_score",
    "previous_token_score",
]
