/** Single neurons of the MLPs: which wrote the answer, what they react to and push, and which move it when patched. */
import { useState } from "preact/hooks";
import type { Shown, Tokens, View } from "../api/generated";
import { number, percent, visible } from "../draw/text";
import { useChoice } from "../state/choices";
import { A, B, sides, textOf, type Side } from "../state/lab";
import { neuronOf, select, selection } from "../state/selection";
import { Picture } from "../views";
import { PAIRED, pairOf, useBoth, useSide, useSight } from "./analysis";
import { Sided } from "./sided";

type Pushed = { token: string; value: number };
type Neuron = { site: string; value: number; share: number; activations: number[]; peak: number; promotes: Pushed[]; demotes: Pushed[] };
type Result = { tokens: string[]; position: number; raising: Neuron[]; lowering: Neuron[] };

const all = (views: readonly View[]) => views;
const pictures = (views: readonly View[]) => views.filter((view) => view.kind !== "table");
const nameOf = (site: string) => site.replace(/^neurons\.(\d+)\.(\d+)$/, "L$1N$2");

export function Neurons() {
  const [layer, setLayer] = useChoice("neurons.layer", "");
  const [many, setMany] = useChoice("neurons.many", "8");
  const inSight = useSight("neurons");
  const args = (prompt: string) => ({ prompt, layer: layer === "" ? null : Number(layer), top_k: Math.max(1, Number(many) || 8) });
  const asked = { A: useSide("neurons", A, args, inSight), B: useSide("neurons", B, args, inSight) };
  const depth = Math.max(...sides.value.map((of) => of.layers.value.length), 0);
  return (
    <Sided id="neurons" title="Neurons" asked={asked} pick={pictures} empty="Analyse a prompt to see which neurons wrote its answer."
      again={(of) => { if (of.shown.value !== null) asked[of.name].start(args(textOf(of))); }}
      about="What single neurons of the MLPs add to the logit of the answer, exactly. Most have no one meaning; what drives one elsewhere a text has to tell."
      controls={
        <p class="choices">
          <label>Layer <select value={layer} onChange={(event) => setLayer(event.currentTarget.value)}>
            <option value="">all</option>{Array.from({ length: depth }, (_, index) => <option value={String(index)}>L{index}</option>)}
          </select></label>
          <label>On each side <select value={many} onChange={(event) => setMany(event.currentTarget.value)}>{["4", "8", "16", "32"].map((count) => <option value={count}>{count}</option>)}</select></label>
          <Address />
        </p>
      }
      draw={(answer) => <Found answer={answer} />} />
  );
}

/** A neuron by its address, wherever it is. */
function Address() {
  const [text, setText] = useState("");
  const wrong = text !== "" && neuronOf(text.trim()) === null;
  return (
    <label>Neuron <input type="text" class="address" placeholder="L3N359" value={text} aria-invalid={wrong || undefined} title="layer and number, such as L3N359"
      onInput={(event) => setText(event.currentTarget.value)}
      onKeyDown={(event) => { const site = neuronOf(text.trim()); if (event.key === "Enter" && site) { event.preventDefault(); select({ neuron: site }); } }} /></label>
  );
}

function Found({ answer }: { answer: Shown }) {
  const result = answer.result as unknown as Result;
  const chosen = selection.value.neuron ?? null;
  const known = [...result.raising, ...result.lowering].find((each) => each.site === chosen);
  return (
    <>
      <p class="summary">{answer.summary}</p>
      {chosen === null ? <p class="state">Choose a neuron, in any picture, to see it alone.</p> : known ? <One neuron={known} result={result} />
        : <p class="state">{nameOf(chosen)} is not among those that add most; list more of its layer to see its share here. <Driven site={chosen} /></p>}
      <div class="beside">{answer.views.map((view) => <Picture key={view.title} view={view} />)}</div>
    </>
  );
}

/** One neuron on this prompt. */
function One({ neuron, result }: { neuron: Neuron; result: Result }) {
  const name = nameOf(neuron.site);
  const view: Tokens = {
    kind: "tokens", title: `${name} on this prompt`, unit: "activation", signed: true, marked: result.position,
    caption: "Only the marked token's adds to the answer directly.", items: result.tokens.map((text, index) => ({ text, id: null, value: neuron.activations[index] ?? null })),
  };
  const list = (pushed: Pushed[]) => pushed.map((each) => <><span class="token">{visible(each.token)}</span> {number(each.value, true)} </>);
  return (
    <div class="one">
      <p><b>{name}</b> adds {number(neuron.value, true)} to the logit, {percent(neuron.share)} of the sizes of all parts. Active, it raises {list(neuron.promotes)} and lowers {list(neuron.demotes)}. <Driven site={neuron.site} /></p>
      <Picture key={name} view={view} />
    </div>
  );
}

/** How to learn what drives a neuron in a text; the server reads no file for a page. */
const Driven = ({ site }: { site: string }) => (
  <span class="muted">What drives it in a whole text, which a page may not name: <code>fluoro max-activating TEXT.txt {nameOf(site)}</code>.</span>
);

/** Every neuron with its value of the other prompt. */
export function NeuronPatching() {
  const asked = useBoth("neuron_patching", "neuron-patching");
  const run = (of: Side) => asked[of.name].start(pairOf(of));
  return (
    <Sided id="neuron-patching" title="Neurons patched" asked={asked} again={run} pick={all}
      empty="Patch them: every neuron in a run of its own, thousands in a few seconds on the embedded model."
      about={`How much of the answer each single neuron brings back when it alone takes its value from the other prompt, and all of a block at once. ${PAIRED}`}
      controls={<p class="choices"><button class="primary" onClick={() => sides.value.forEach(run)} disabled={asked.busy}>Patch every neuron</button></p>} />
  );
}
