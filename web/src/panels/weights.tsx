/** The weights themselves: any matrix by its address, and what a head does by its weights alone. */
import type { View } from "../api/generated";
import { useChoice } from "../state/choices";
import { model, sides, type Side } from "../state/lab";
import { focus, selection } from "../state/selection";
import { useBoth } from "./analysis";
import { Sided } from "./sided";

const all = (views: readonly View[]) => views;
const FIXED = "Weights do not depend on the prompt: compare them with those of another model. A difference only means something where one model was trained from the other.";

export function Weights() {
  const [address, setAddress] = useChoice("weights.address", "W_E");
  const [cells, setCells] = useChoice("weights.cells", "12");
  const asked = useBoth("weight_heatmap", "weights");
  const ask = (of: Side, weight = address) => asked[of.name].start({ weight: weight.trim(), cells: Number(cells) });
  const choose = (weight: string) => { setAddress(weight); for (const of of sides.value) ask(of, weight); };
  return (
    <Sided id="weights" title="Weights" asked={asked} again={ask} pick={all} empty="Choose a matrix, or write its address."
      about={`One matrix as it is stored: its map, norms, rank and largest entries. What cancels within a cell of the map is not seen. ${FIXED}`}
      controls={
        <form class="choices" onSubmit={(event) => { event.preventDefault(); choose(address); }}>
          <label>Address <input type="text" class="address" value={address} spellcheck={false} placeholder="W_Q.3.0" onInput={(event) => setAddress(event.currentTarget.value)} /></label>
          <label>Cells <select value={cells} onChange={(event) => setCells(event.currentTarget.value)}>{["12", "24", "48", "96"].map((count) => <option value={count}>{count} × {count}</option>)}</select></label>
          <button type="submit" class="primary" disabled={asked.busy}>Show it</button>
          <span role="group" aria-label="Matrices of what is chosen">{offered().map((each) => <button type="button" class="quiet token" onClick={() => choose(each)}>{each}</button>)}</span>
        </form>
      } />
  );
}

/** The matrices of the chosen head and neuron, and those that every model has. */
function offered(): string[] {
  const { layer, head, neuron } = selection.value;
  const about = (model.value?.about ?? {}) as { n_heads?: number; n_kv_heads?: number };
  const shared = head === null ? 0 : Math.floor(head / ((about.n_heads ?? 1) / (about.n_kv_heads ?? about.n_heads ?? 1)));
  const ofHead = layer === null || head === null ? [] : [`W_Q.${layer}.${head}`, `W_K.${layer}.${shared}`, `W_V.${layer}.${shared}`, `W_O.${layer}.${head}`];
  const within = neuron?.split(".")[1];
  return [...ofHead, ...(within === undefined ? [] : [`W_in.${within}`, `W_out.${within}`]), "W_E", "W_U"];
}

export function HeadCircuits() {
  const [circuit, setCircuit] = useChoice("head-circuits.circuit", "ov");
  const [distance, setDistance] = useChoice("head-circuits.distance", "");
  const asked = useBoth("head_circuits", "head-circuits");
  const { layer, head } = focus.value;
  const chosen = layer === null || head === null ? null : `L${layer}H${head}`;
  const args = () => ({
    head: chosen, ...(chosen !== null && circuit === "qk" ? { circuit, ...(distance !== "" && { distance: Number(distance) }) } : {}),
  });
  const run = (of: Side) => asked[of.name].start(args());
  return (
    <Sided id="head-circuits" title="Heads by their weights" asked={asked} again={run} pick={all} empty="Ask it: a few seconds on the embedded model."
      about={`What a head writes for each token that it reads (OV), and which tokens it looks for (QK), whatever the prompt. Whether it ever reads them only a prompt can tell. ${FIXED}`}
      controls={
        <p class="choices">
          <label>Pairs of <select value={circuit} onChange={(event) => setCircuit(event.currentTarget.value)}><option value="ov">OV: reads → promotes</option><option value="qk">QK: looks for</option></select></label>
          {circuit === "qk" && <label>Tokens back <input type="number" min="0" value={distance} placeholder="any" title="models with rotary positions need it" onInput={(event) => setDistance(event.currentTarget.value)} /></label>}
          <button class="primary" onClick={() => sides.value.forEach(run)} disabled={asked.busy}>{chosen === null ? "Score all heads" : `Ask about ${chosen}`}</button>
          {chosen === null && <span class="muted">Choose a head to see its pairs of tokens.</span>}
        </p>
      } />
  );
}
