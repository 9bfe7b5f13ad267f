/** The lab: a prompt above, panels below, one selection for all of them. */
import "./lab.css";
import "./panels/panels.css";
import { render } from "preact";
import { useEffect, useErrorBoundary } from "preact/hooks";
import { AnalysisPanel } from "./panels/analysis";
import { Chapter, Contents } from "./panels/chapters";
import { Circuit } from "./panels/circuit";
import { Attention } from "./panels/attention";
import { Depth } from "./panels/depth";
import { HeadMap } from "./panels/heads";
import { Inspector } from "./panels/inspector";
import { Later } from "./panels/later";
import { openPalette, Palette } from "./panels/palette";
import { PromptBar } from "./panels/prompt";
import { Header, Help, openHelp } from "./panels/header";
import { go, PANELS } from "./state/actions";
import { begin, fault, first, show, showing, trouble, type Showing } from "./state/lab";
import { redo, undo } from "./state/history";
import { clear, select, selection } from "./state/selection";
import { beginTheme, dark, theme } from "./state/theme";
import { follow, restore } from "./state/link";
import { alone } from "./state/run-file";
import { close, opened, openOwn } from "./state/saved";
import type { View } from "./api/generated";

const of = (...kinds: View["kind"][]) => (views: readonly View[]) => views.filter((view) => kinds.includes(view.kind));
const NEXT: Record<Showing, Showing> = { A: "B", B: "A−B", "A−B": "A" };

function keys(event: KeyboardEvent): void {
  if (document.querySelector("dialog[open]") || document.fullscreenElement) return; // Escape is theirs
  if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); openPalette(); return; }
  const typing = event.target instanceof HTMLElement && event.target.matches("textarea, select, input:not([type=range], [type=checkbox])");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { "[": [-1, 0], "]": [1, 0], "{": [0, -1], "}": [0, 1] }[event.key];
  const does: Record<string, () => void> = {
    Escape: clear, z: undo, Z: redo, "?": openHelp, g: jump, "/": () => { event.preventDefault(); openPalette(); }, c: () => show(NEXT[showing.value]),
    d: () => (theme.value = dark.value ? "light" : "dark"), l: () => document.getElementById("copy-link")?.click(),
  };
  if (step) move(step[0]!, step[1]!);
  else does[event.key]?.();
}

/** Another head than the one that is chosen; the first one where none is. */
function move(layers: number, heads: number): void {
  const { layer, head } = selection.value;
  const known = first.value.layers.value;
  const wide = known.find((each) => each?.heads)?.heads?.entropy.length;
  const within = (value: number, most = 1) => Math.min(Math.max(value, 0), most - 1);
  if (layer === null || head === null) select({ layer: 0, head: 0 });
  else select({ layer: within(layer + layers, known.length), head: within(head + heads, wide) });
}

function jump(): void {
  addEventListener("keydown", (next) => {
    const panel = PANELS.find(({ key }) => key === next.key);
    if (!panel) return;
    next.preventDefault();
    next.stopPropagation();
    go(panel.id);
  }, { once: true, capture: true });
}

/** Everything anew for another saved run; one that cannot be drawn is told and put away. */
function Page() {
  const [failed, forget] = useErrorBoundary();
  useEffect(() => {
    if (!failed || !opened.value) return;
    fault.value = { error: "file", message: "this saved run cannot be drawn", hint: "It was changed or damaged: copy it again, or save the run again." };
    if (alone) opened.value = null; else close(false);
    forget();
  }, [failed]);
  if (failed && !opened.value) throw failed;
  return failed ? null : <Lab key={opened.value?.made ?? ""} />;
}

function Lab() {
  useEffect(() => {
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, []);
  return (
    <>
      <Header />
      <Contents />
      {trouble.value && <p class="state trouble notice" role="alert"><b>{trouble.value.message}</b> {trouble.value.hint}</p>}
      <main class={showing.value === "A−B" ? "both" : ""}>
        <PromptBar />
        <Chapter id="look" />
        <HeadMap />
        <Attention />
        <Inspector />
        <Depth />
        <AnalysisPanel id="next" title="Prediction" about="The likeliest next tokens." analysis="next_token" pick={of("bars")} />
        <Chapter id="why" />
        <Circuit />
        <Later id="lens" title="Logit lens" soon load={() => import("./panels/lens").then((found) => found.Lens)} />
        <AnalysisPanel id="flow" title="Token flow" analysis="attention_patterns" pick={of("arcs")}
          about="What passes between two tokens, over all layers and heads; where heads rest on the first token is left out. Attention is not influence." />
        <Later id="neurons" title="Neurons" load={() => import("./panels/neurons").then((found) => found.Neurons)} />
        <Chapter id="change" />
        <Later id="patch" title="Patch sweep" soon load={() => import("./panels/patch").then((found) => found.PatchSweep)} />
        <Later id="paths" title="Path tree" soon load={() => import("./panels/paths").then((found) => found.PathTree)} />
        <Later id="circuits" title="Circuits" load={() => import("./panels/circuits").then((found) => found.Circuits)} />
        <Later id="neuron-patching" title="Neurons patched" load={() => import("./panels/neurons").then((found) => found.NeuronPatching)} />
        <Chapter id="steps" />
        <Later id="reasoning" title="Reasoning" load={() => import("./panels/reasoning").then((found) => found.Reasoning)} />
        <Later id="conversation" title="Conversation" load={() => import("./panels/conversation").then((found) => found.Conversation)} />
        <Chapter id="parts" />
        <Later id="weights" title="Weights" load={() => import("./panels/weights").then((found) => found.Weights)} />
        <Later id="head-circuits" title="Heads by their weights" load={() => import("./panels/weights").then((found) => found.HeadCircuits)} />
        <Chapter id="every" />
        <Later id="any" title="Every analysis" soon load={() => import("./panels/any").then((found) => found.AnyAnalysis)} />
        <Later id="kept" title="Kept runs" load={() => import("./panels/kept").then((found) => found.Kept)} />
      </main>
      <Help />
      <Palette />
    </>
  );
}

beginTheme();
if (alone) openOwn();
else {
  begin();
  restore();
  follow();
}
const place = document.getElementById("lab")!;
place.replaceChildren(); // of a saved run, what those see who run no scripts
render(<Page />, place);
