/** What wrote the answer: all parts that sum to the logit, as a table and as a map of heads; each can be tried. */
import "./circuit.css";
import type { HeadGrid, Shown, View } from "../api/generated";
import { number, percent } from "../draw/text";
import { aimed, threshold } from "../state/aims";
import { change } from "../state/history";
import { A, B, modelOf, textOf, type Side } from "../state/lab";
import { Picture } from "../views";
import { HeadGridView } from "../views/grid";
import { AnalysisPanel, useAnalysis, type Asking } from "./analysis";
import { Effects, type Row } from "./effects";
import { States } from "./frame";
import { OnePatch, usePatching, type Patching } from "./onepatch";

type Part = { name: string; label: string; site: string | null; layer: number; value: number; share: number };
type Result = { parts: Part[]; logit: number; total: number; error: number; target: string; foil: string | null };

/** The largest parts that make up so many percent of all sizes. */
function above(parts: readonly Part[], percent: number): Set<string> {
  const found = new Set<string>();
  let sum = 0;
  for (const part of [...parts].sort((one, other) => Math.abs(other.value) - Math.abs(one.value))) {
    if (percent < 100 && sum * 100 >= percent) break;
    found.add(part.name);
    sum += part.share;
  }
  return found;
}

export function Circuit() {
  const ablation = useAnalysis("ablation", "circuit");
  const patching = usePatching("circuit", () => "denoise");
  const more = () => aimed({ target: "target", foil: "foil" });
  const slider = (
    <p class="choices">
      <label for="threshold">Show the top {threshold.value} % of the effect</label>
      <input id="threshold" type="range" min={10} max={100} value={threshold.value} onInput={(event) => change(threshold, Number(event.currentTarget.value), true)} />
    </p>
  );
  return (
    <AnalysisPanel id="circuit" title="What wrote the answer" analysis="logit_attribution" grid="what it adds to the answer" pick={(views) => views.filter(({ kind }) => kind === "bars" || kind === "head_grid")} more={more} before={slider}
      about="The logit as an exact sum over heads, MLPs and embeddings, with nothing left over. Direct writing only: what a part does through later ones is not in it; ablating or patching it is."
      draw={(answer, of) => <Parts answer={answer} of={of} ablation={ablation} patching={patching} />} after={<Tried ablation={ablation} patching={patching} />} />
  );
}

type PartsProps = { answer: Shown; of: Side; ablation: Asking; patching: Patching };

function Parts({ answer, of, ablation, patching }: PartsProps) {
  const result = answer.result as unknown as Result;
  const kept = above(result.parts, threshold.value);
  const shown = result.parts.filter((part) => kept.has(part.name)).sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
  const others = result.parts.length - shown.length;
  const sum = (parts: readonly Part[]) => parts.reduce((total, part) => total + part.value, 0);
  const stale = of.shown.value !== null && textOf(of) !== of.shown.value;
  const elsewhere = modelOf(of).model !== undefined; // rows are tried in the model that all see
  const unlike = A.tokens.value.length !== B.tokens.value.length && B.tokens.value.length > 0;
  const rows = shown.map((part): Row => ({
    name: part.label, site: part.site, value: part.value, told: percent(part.share),
    actions: part.site && (
      <>
        <button type="button" aria-label={`ablate ${part.label}`} disabled={stale || elsewhere} onClick={() => ablation.start({ prompt: of.shown.value, sites: [part.site], ...aimed({ target: "target", foil: "foil" }) })}>Ablate</button>{" "}
        <button type="button" aria-label={`patch ${part.label}`} disabled={stale || unlike || elsewhere} onClick={() => patching.run({ sites: [part.site!], positions: null })}>Patch</button>
      </>
    ),
  }));
  const grid = answer.views.find((view): view is HeadGrid => view.kind === "head_grid");
  const line = (name: string, value: number, told: string) => <tr class="sum"><th scope="row">{name}</th><td /><td class="number">{number(value, true)}</td><td class="muted">{told}</td><td /></tr>;
  return (
    <div class="written" data-stale={stale ? "" : undefined}>
      {stale && <p class="state trouble" role="status">The prompt was changed: these rows are of the earlier text. Analyse it to renew them.</p>}
      <div class="beside">
        <figure>
          <figcaption><b>Every part</b><span class="muted"> · logits</span><span class="muted caption">Right and blue speak for the answer, left and orange against it; percent of the sizes of all {result.parts.length} parts.</span></figcaption>
          <Effects name="parts of the answer" heads={["adds", "share"]} rows={rows} most={Math.max(...result.parts.map((part) => Math.abs(part.value)))} after={(
            <>
              {others > 0 && line(`${others} smaller parts`, sum(result.parts) - sum(shown), percent(1 - shown.reduce((total, part) => total + part.share, 0)))}
              {line("sum of all parts", result.total, "")}
              {line(result.foil === null ? "the model's logit" : "the model's difference of logits", result.logit, "")}
              {line("residue", result.error, "float rounding")}
            </>
          )} />
        </figure>
        {grid && <Picture view={{ ...grid, caption: `${grid.caption} Faint: below the threshold.` }} drawn={<HeadGridView view={grid} faint={(layer, head) => !kept.has(`z.${layer}.${head}`)} />} />}
      </div>
      <Depth views={answer.views} />
    </div>
  );
}

const Depth = ({ views }: { views: readonly View[] }) => (
  <details><summary>The sum after each block</summary>{views.filter((view) => view.kind === "lines").map((view) => <Picture key={view.title} view={view} />)}</details>
);

/** What came of a row's buttons. */
function Tried({ ablation: { state, answer, cancel }, patching }: { ablation: Asking; patching: Patching }) {
  const call = (answer?.result as { call?: { script: string } } | undefined)?.call;
  return (
    <>
      {(state.status !== "empty" || answer) && (
        <div class="onepatch" role="group" aria-label="Without a part" data-status={state.status}>
          <h3>Without it</h3>
          <States state={state} empty="" old={answer !== null} onCancel={cancel}>
            <p class="summary">{answer?.summary}</p>
            {call && <details><summary>Python</summary><pre>{call.script}</pre></details>}
          </States>
        </div>
      )}
      {patching.asking.state.status !== "empty" && <OnePatch patching={patching} empty="" />}
    </>
  );
}
