/** Two prompts, every part's value of one put into the other: which bring the answer back. */
import { useEffect, useState } from "preact/hooks";
import type { HeadGrid, Shown, View } from "../api/generated";
import { number, visible } from "../draw/text";
import { aimed, foil, target } from "../state/aims";
import { useChoice } from "../state/choices";
import { A, B, offer, sides, type Side } from "../state/lab";
import { selection } from "../state/selection";
import { Picture } from "../views";
import { Acting } from "../views/acts";
import { PAIRED, pairOf, useAnalysis, useBoth, type Asking } from "./analysis";
import { Effects, type Row } from "./effects";
import { failed, States } from "./frame";
import { OnePatch, read, Strips, usePatching, written, type Patching, type Taken } from "./onepatch";
import { Said, Sided } from "./sided";

type Kind = "head_patching" | "activation_patching" | "task_patching";
/** What can be swept: its name, the analysis, and what it is asked. */
const PARTS: readonly { name: string; kind: Kind; asked: Record<string, string> }[] = [
  { name: "heads", kind: "head_patching", asked: {} },
  { name: "heads: queries", kind: "head_patching", asked: { part: "q" } },
  { name: "heads: keys", kind: "head_patching", asked: { part: "k" } },
  { name: "heads: values", kind: "head_patching", asked: { part: "v" } },
  { name: "heads: patterns", kind: "head_patching", asked: { part: "pattern" } },
  { name: "layers × tokens: stream", kind: "activation_patching", asked: {} },
  { name: "layers × tokens: attention", kind: "activation_patching", asked: { site: "attn_out" } },
  { name: "layers × tokens: MLP", kind: "activation_patching", asked: { site: "mlp_out" } },
  { name: "heads, over pairs of a task", kind: "task_patching", asked: {} },
];
const NAMED = 10;

export function PatchSweep() {
  const [grain, setGrain] = useChoice("patch.grain", "0");
  const [direction, setDirection] = useChoice("patch.direction", "denoise");
  const [task, setTask] = useChoice("patch.task", "ioi");
  const { kind, asked: own } = PARTS[Number(grain)] ?? PARTS[0]!;
  const sweeps = {
    head_patching: useBoth("head_patching", "patch"), activation_patching: useBoth("activation_patching", "patch"),
    task_patching: useBoth("task_patching", "patch"),
  };
  const sweep = sweeps[kind];
  const { state, answer, asked } = sweep[sides.value[0]!.name];
  const pairs = useAnalysis("head_interaction", "pairs");
  const patching = usePatching("patch", () => direction);
  const args = (of: Side) => ({ ...(kind === "task_patching" ? { task } : { ...pairOf(of), ...aimed(pairOf(of).clean === A.prompt.value ? { target: "answer", foil: "foil" } : { target: "foil", foil: "answer" }) }), ...own, direction });
  const run = (of: Side) => sweep[of.name].start(args(of));
  useEffect(() => {
    const grid = answer?.views.find((view): view is HeadGrid => view.kind === "head_grid");
    if (grid || failed(state)) offer("what its patch moves", failed(state) ? null : grid!, [answer]);
  }, [answer, state.status]);
  const controls = (
    <>
      <form class="inline" onSubmit={(event) => { event.preventDefault(); sides.value.forEach(run); }}>
        <label>Clean (A) <textarea rows={2} value={A.prompt.value} onInput={(event) => (A.prompt.value = event.currentTarget.value)} /></label>
        <label>Corrupted (B) <textarea rows={2} value={B.prompt.value} onInput={(event) => (B.prompt.value = event.currentTarget.value)} /></label>
        <label>Parts <select value={String(grain)} onChange={(event) => setGrain(event.currentTarget.value)}>
          {PARTS.map((part, index) => <option value={String(index)}>{part.name}</option>)}
        </select></label>
        <label>Direction <select value={direction} onChange={(event) => setDirection(event.currentTarget.value)}>
          <option value="denoise">denoise: clean into corrupted</option><option value="noise">noise: corrupted into clean</option>
        </select></label>
        {kind === "task_patching" && <label>Task <input type="text" value={task} spellcheck={false} onInput={(event) => setTask(event.currentTarget.value)} /></label>}
        <button type="submit" class="primary">Run the sweep</button>
      </form>
      <p class="muted">{kind === "task_patching" ? "Sixteen pairs of that task, not the prompts above; values of shuffled pairs give the noise that an effect has to stand out of." : `Measured: ${target.value ? visible(target.value) : "what the model says after A"} against ${foil.value ? visible(foil.value) : "what it says after B"}; choose others beside the prompt.`}</p>
      {state.status === "ready" && asked !== JSON.stringify(args(sides.value[0]!)) && <p class="muted">The prompts, the tokens or the direction were changed: this is the earlier sweep.</p>}
    </>
  );
  return (
    <Sided id="patch" title="Patch sweep" asked={sweep} again={run} pick={compared} controls={controls} empty="Run the sweep: a fraction of a second on the embedded model."
      about={`Every part alone takes its value from the other prompt, in a run of its own; a share of 1 moves the answer all the way. Both prompts need as many tokens. ${PAIRED} Single patches are those of A.`}
      draw={(found, of) => (of === A ? <Swept key={kind} kind={kind} answer={found} patching={patching} direction={direction} pairs={pairs} /> : <Said answer={found} pick={compared} />)} />
  );
}

const compared = (views: readonly View[]) => views.filter((view) => view.kind !== "table");

type SweptProps = { kind: Kind; answer: Shown; patching: Patching; direction: string; pairs: Asking };

/** The sweep's pictures, its largest parts, and what can be tried from here. */
function Swept({ kind, answer, patching, direction, pairs }: SweptProps) {
  const [site, setSite] = useState("");
  const { layer, head } = selection.value;
  useEffect(() => { if (layer !== null && head !== null) setSite(`L${layer}H${head}`); }, [layer, head]);
  const cells = cellsOf(kind, answer.result);
  const acts = {
    take: (picture: string, row: number, column: number) => {
      const view = answer.views.find((each) => each.title === picture);
      const taken = view?.kind === "head_grid" || view?.kind === "heatmap" ? cells.at(row, column) : null;
      return taken && written(taken);
    },
    act: (text: string) => { const taken = read(text); if (taken) patching.run(taken); },
    hint: "P, or drag onto the corrupted prompt, patches it alone",
  };
  const rows = cells.rows.slice(0, NAMED).map((each): Row => ({
    ...each, actions: (
      <>
        <button type="button" aria-label={`patch ${each.name} alone`} onClick={() => patching.run(each.taken)}>Patch</button>{" "}
        <button type="button" class="quiet" aria-label={`Python of ${each.name}`} onClick={() => patching.python(each.taken)}>Python</button>
      </>
    ),
  }));
  const drawn = answer.views.filter((view) => kind === "task_patching" || view.kind !== "bars");
  const told = answer.result as { clean?: string[]; corrupted?: string[]; changed?: number[] };
  return (
    <>
      <p class="summary">{answer.summary}</p>
      <div class="beside">
        <Acting.Provider value={kind === "task_patching" ? null : acts}>{drawn.map((view) => <Picture key={view.title} view={view} />)}</Acting.Provider>
        {rows.length > 0 && <figure><figcaption><b>The largest</b><span class="muted"> · share</span></figcaption><Effects name="the largest effects" heads={["share", "score"]} rows={rows} most={Math.max(...rows.map((row) => Math.abs(row.value)))} /></figure>}
      </div>
      {told.clean && told.corrupted && (
        <>
          <Strips clean={told.clean} corrupted={told.corrupted} changed={told.changed ?? []} site={site} onSite={setSite} onPatch={patching.run} direction={direction} />
          <OnePatch patching={patching} empty="Nothing patched alone yet: choose a cell and press P, drag it onto the corrupted prompt, or use a row's button." />
          {kind === "head_patching" && <Pairs asking={pairs} direction={direction} />}
        </>
      )}
    </>
  );
}

function Pairs({ asking: { state, answer, start, cancel }, direction }: { asking: Asking; direction: string }) {
  const [count, setCount] = useState(6);
  const run = () => start({ clean: A.prompt.value, corrupted: B.prompt.value, top_k: count, direction, ...aimed({ target: "answer", foil: "foil" }) });
  return (
    <section class="onepatch" aria-label="Pairs of heads" id="pairs" data-status={state.status}>
      <h3>Second order</h3>
      <p class="choices">
        <label for="pairs-of">Heads that do most alone</label>
        <input id="pairs-of" type="number" min={2} max={24} value={count} onInput={(event) => setCount(Math.min(24, Math.max(2, Number(event.currentTarget.value) || 2)))} />
        <button type="button" onClick={run}>Pairs of the top {count}</button>
      </p>
      <States state={state} empty="Patches them two by two: what a pair does beyond the sum names backups, and heads that need each other." old={answer !== null} onCancel={cancel} onRetry={run}>
        <p class="summary">{answer?.summary}</p>
        <div class="beside">{answer?.views.map((view) => <Picture key={view.title} view={view} />)}</div>
      </States>
    </section>
  );
}

type Cells = { at: (row: number, column: number) => Taken | null; rows: { name: string; site: string | null; value: number; told: string; taken: Taken }[] };
type Result = { part?: string; site?: string; layers?: number[]; positions?: number[] | null; clean?: string[]; effects?: (number | null)[][]; scores?: (number | null)[][] };

/** What the cells of a sweep stand for, and its measured ones, the largest first. */
function cellsOf(kind: Kind, result: Readonly<Record<string, unknown>>): Cells {
  const { part, site, layers, positions, clean, effects, scores } = result as Result;
  if (kind === "task_patching" || !effects || !scores) return { at: () => null, rows: [] };
  const heads = kind === "head_patching";
  const at = (row: number, column: number): Taken | null => effects[row]?.[column] == null ? null
    : heads ? { sites: [`${part}.${row}.${column}`], positions: null } : { sites: [`${site}.${layers![row]}`], positions: [positions![column]!] };
  const own = part === "k" || part === "v"; // of kv heads, which several heads share
  const name = (row: number, column: number) => heads ? own ? `${part}.${row}.${column}` : `L${row}H${column}` : `${site}.${layers![row]} at ${visible(clean![positions![column]!]!)} ${positions![column]}`;
  const rows = effects.flatMap((line, row) => line.flatMap((value, column) => {
    const taken = at(row, column);
    return value === null || !taken ? [] : [{ name: name(row, column), site: heads && !own ? `L${row}H${column}` : null, value, told: number(scores[row]![column]!), taken }];
  }));
  return { at, rows: rows.sort((one, other) => Math.abs(other.value) - Math.abs(one.value)) };
}
