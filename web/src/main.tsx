/** The lab: a prompt above, panels below, one selection for all of them. */
import "./lab.css";
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { AnalysisPanel } from "./panels/analysis";
import { AnyAnalysis } from "./panels/any";
import { Attention } from "./panels/attention";
import { Depth } from "./panels/depth";
import { HeadMap } from "./panels/heads";
import { Inspector } from "./panels/inspector";
import { PatchSweep } from "./panels/patch";
import { PromptBar } from "./panels/prompt";
import { Header, Help } from "./panels/header";
import { analyse, begin, clear, redo, select, selection, shown, theme, trouble, undo, model } from "./state/lab";
import { follow, restore } from "./state/link";
import type { View } from "./api/generated";

const of = (...kinds: View["kind"][]) => (views: readonly View[]) => views.filter((view) => kinds.includes(view.kind));
const JUMPS: Record<string, string> = { h: "heads", a: "attention", p: "prompt-text", s: "patch", l: "lens", c: "circuit", f: "flow", e: "any" };

function keys(event: KeyboardEvent): void {
  const typing = event.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "Escape") clear();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const { layer, head } = selection.value;
  const step = { "[": [-1, 0], "]": [1, 0], "{": [0, -1], "}": [0, 1] }[event.key];
  if (step && layer !== null && head !== null) {
    const about = model.value?.about as { n_layers?: number; n_heads?: number } | undefined;
    const within = (value: number, most: number | undefined) => Math.min(Math.max(value, 0), (most ?? 1) - 1);
    select({ layer: within(layer + step[0]!, about?.n_layers), head: within(head + step[1]!, about?.n_heads) });
  } else if (event.key === "z") undo();
  else if (event.key === "Z") redo();
  else if (event.key === "d") theme.value = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  else if (event.key === "?") document.querySelector<HTMLDialogElement>("#help")?.showModal();
  else if (event.key === "g") addEventListener("keydown", (next) => {
    const target = document.getElementById(JUMPS[next.key] ?? "");
    if (target) { next.preventDefault(); next.stopPropagation(); target.focus(); target.scrollIntoView({ block: "nearest" }); }
  }, { once: true, capture: true });
}

function Lab() {
  useEffect(() => {
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, []);
  const args = shown.value === null ? null : { prompt: shown.value };
  return (
    <>
      <Header />
      {trouble.value && <p class="state trouble" role="alert">{trouble.value}</p>}
      <main>
        <PromptBar />
        <HeadMap />
        <Attention />
        <Inspector />
        <Depth />
        <AnalysisPanel id="next" title="Prediction" about="The likeliest next tokens." analysis="next_token" args={args} pick={of("bars")} />
        <AnalysisPanel id="circuit" title="What wrote the answer" analysis="logit_attribution" args={args} pick={of("bars", "head_grid")}
          about="The logit as an exact sum over heads, MLPs and embeddings, with nothing left over. Direct writing only: what a part does through later ones is not in it." />
        <AnalysisPanel id="lens" title="Logit lens" analysis="logit_lens" args={args} pick={of("heatmap")} wide
          about="What each depth would say at every token, with its probability; read columns upwards." />
        <AnalysisPanel id="flow" title="Token flow" analysis="attention_patterns" args={args} pick={of("arcs")} wide
          about="What passes between two tokens, over all layers and heads; where heads rest on the first token is left out. Attention is not influence." />
        <PatchSweep />
        <AnyAnalysis />
      </main>
      <Help />
    </>
  );
}

if (restore()) analyse();
void begin();
follow();
render(<Lab />, document.getElementById("lab")!);
