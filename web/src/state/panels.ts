/** The panels, by the letters that lead to them. */
export const PANELS: readonly { key: string; id: string; name: string }[] = [
  { key: "p", id: "prompt-text", name: "Prompt" }, { key: "h", id: "heads", name: "Heads" }, { key: "a", id: "attention", name: "Attention" }, { key: "i", id: "inspector", name: "Head in numbers" },
  { key: "d", id: "depth", name: "The answer forms" }, { key: "o", id: "next", name: "Prediction" }, { key: "c", id: "circuit", name: "What wrote the answer" }, { key: "l", id: "lens", name: "Logit lens" },
  { key: "f", id: "flow", name: "Token flow" }, { key: "s", id: "patch", name: "Patch sweep" }, { key: "t", id: "paths", name: "Path tree" }, { key: "n", id: "neurons", name: "Neurons" }, { key: "k", id: "circuits", name: "Circuits" },
  { key: "r", id: "reasoning", name: "Reasoning" }, { key: "v", id: "conversation", name: "Conversation" }, { key: "w", id: "weights", name: "Weights" }, { key: "e", id: "any", name: "Every analysis" },
];

export function go(id: string): void {
  const target = document.getElementById(id);
  target?.focus();
  target?.scrollIntoView({ block: "nearest" });
}
