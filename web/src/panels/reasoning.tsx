/** The steps of a reasoning on a timeline: what each is worth to the answer, and what later steps take from it. */
import { signal } from "@preact/signals";
import type { HeadGrid, Shown, View } from "../api/generated";
import { number, percent, visible } from "../draw/text";
import { A, B, analyseShown, presets, sides, textOf, type Side } from "../state/lab";
import { headOf, select, selection } from "../state/selection";
import { Picture } from "../views";
import { Timeline, type Tie } from "../views/timeline";
import { useBoth } from "./analysis";
import { Sided } from "./sided";

type Shift = { probability: number; effect: number | null; leads: string } | null;
type Step = {
  text: string; first: number; last: number; attribution: number; flow: number; knockout: Shift; removal: Shift;
  prediction: { token: string; probability: number; actual: string | null; actual_probability: number | null };
};
type Grid = (number | null)[][];
type Result = { tokens: string[]; steps: Step[]; answer: string; probability: number; direct: Grid; total: Grid; receivers: { site: string; scores: (number | null)[] }[] };

/** What a step is worth, larger for what the answer leans on. */
const WORTHS: Record<string, { name: string; unit: string; of: (step: Step) => number | null }> = {
  knockout: { name: "what hiding it takes away", unit: "nats of the answer's log-probability", of: ({ knockout }) => (knockout?.effect == null ? null : -knockout.effect) },
  removal: { name: "what taking it out of the text takes away", unit: "nats of the answer's log-probability", of: ({ removal }) => (removal?.effect == null ? null : -removal.effect) },
  attribution: { name: "what heads read from it into the answer", unit: "logits", of: ({ attribution }) => attribution },
};
const TIES: Record<string, string> = { attention: "attention, mean of all heads", direct: "predictions that change without it", total: "the same, through steps between as well" };

const worth = signal("knockout");
const tie = signal("attention");

export function Reasoning() {
  const asked = useBoth("reasoning_steps", "reasoning");
  const looks = useBoth("attention_patterns", "reasoning");
  const run = (of: Side) => {
    const prompt = of.shown.value ?? textOf(of);
    asked[of.name].start({ prompt });
    looks[of.name].start({ prompt });
  };
  const word = presets.value.find((each) => each.id === "specimen-word-problem");
  const take = () => { if (word) { A.prompt.value = word.prompt; B.prompt.value = word.corrupted; analyseShown(); } };
  const stale = sides.value.some((of) => asked[of.name].answer && of.shown.value !== null && of.shown.value !== (asked[of.name].answer!.result.call as { arguments: { prompt: string } } | undefined)?.arguments.prompt);
  return (
    <Sided id="reasoning" title="Reasoning" asked={asked} again={run} pick={compared}
      about="The sentences of the prompt, and what each is worth to the token after it. Only hiding and taking out prove that a step is used; attention and reading do not. A reasoning whose answer stands before it begins may not be what led to it."
      empty="Measure the steps of the prompt: question and reasoning, up to where the answer stands."
      controls={
        <div>
          <p class="choices">
            <button class="primary" onClick={() => sides.value.forEach(run)} disabled={asked.busy}>Measure the steps</button>
            {word && A.prompt.value !== word.prompt && <button onClick={take}>Take a word problem as the prompt</button>}
            <label>Height <select value={worth.value} onChange={(event) => (worth.value = event.currentTarget.value)}>{Object.entries(WORTHS).map(([name, { name: title }]) => <option value={name}>{title}</option>)}</select></label>
            <label>Arcs <select value={tie.value} onChange={(event) => (tie.value = event.currentTarget.value)}>{Object.entries(TIES).map(([name, title]) => <option value={name}>{title}</option>)}</select></label>
          </p>
          {stale && <p class="muted">The prompt was changed: these are the steps of the earlier one.</p>}
        </div>
      }
      draw={(answer, of) => <Steps answer={answer} looks={looks[of.name].answer} of={of} />} />
  );
}

const compared = (views: readonly View[]) => views.filter((view) => view.kind !== "table");

function Steps({ answer, looks, of }: { answer: Shown; looks: Shown | null; of: Side }) {
  const result = answer.result as unknown as Result;
  const { steps } = result;
  const span = selection.value.span;
  const place = span ? steps.findIndex((step) => step.first === span[0] && step.last === span[1]) : -1;
  const chosen = place < 0 ? null : place;
  const choose = (index: number) => select({ query: steps[index]!.last - 1, span: [steps[index]!.first, steps[index]!.last] });
  const measure = WORTHS[worth.value]!;
  const flow = looks?.result.flow as Grid | undefined;
  const ties = tie.value === "attention" ? (flow ? between(flow, steps) : []) : pairs(result[tie.value as "direct" | "total"]);
  const keys = (event: KeyboardEvent) => {
    const step = { j: 1, k: -1 }[event.key.toLowerCase()];
    if (!step || (event.target instanceof HTMLElement && /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName))) return;
    event.preventDefault();
    const next = Math.min(steps.length - 1, Math.max(0, (chosen ?? (step > 0 ? -1 : steps.length)) + step));
    choose(next);
    (event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>(".steps button")[next]?.focus();
  };
  if (steps.length < 2) return <p class="state">One step is no reasoning: steps are lines and sentences. Take the word problem, or write a few sentences that lead to an answer.</p>;
  return (
    <div onKeyDown={keys}>
      <p class="summary">{answer.summary}</p>
      <Timeline title={`Steps and the answer ${visible(result.answer)}, ${percent(result.probability)}`} unit={measure.unit} tieUnit={tie.value === "attention" ? "share" : "nats"}
        steps={steps.map((step) => ({ text: step.text.trim(), tokens: step.last - step.first, value: measure.of(step) }))} ties={ties} chosen={chosen} onChoose={choose} />
      <p class="muted">J and K go from step to step.</p>
      <ol class="steps">
        {steps.map((step, index) => (
          <li><button aria-current={chosen === index ? "step" : undefined} onClick={() => choose(index)}>
            <span>{step.text.trim()}</span> <span class="number">{number(measure.of(step), true)}</span>
          </button></li>
        ))}
      </ol>
      {chosen !== null && <Chosen result={result} index={chosen} of={of} />}
      <details>
        <summary>All numbers: {answer.views.map((view) => view.title).join("; ")}</summary>
        <div class="beside">{answer.views.map((view) => <Picture key={view.title} view={view} />)}</div>
      </details>
    </div>
  );
}

/** What is known of one step, and the heads by which later ones look back at it. */
function Chosen({ result, index, of }: { result: Result; index: number; of: Side }) {
  const step = result.steps[index]!;
  const left = (shift: Shift) => (shift === null ? "–" : `${percent(shift.probability)}${shift.leads === result.answer ? "" : `, ${visible(shift.leads)} leads`}`);
  const heads = result.receivers.map(({ site, scores }) => ({ site, head: headOf(site), score: scores[index] ?? null })).filter((each) => each.score !== null)
    .sort((a, b) => b.score! - a.score!);
  const layers = heads.reduce<(number | null)[][]>((rows, { head, score }) => { (rows[head!.layer] ??= [])[head!.head] = score; return rows; }, []);
  const grid: HeadGrid = { kind: "head_grid", title: `Which heads look back at step ${index + 1}`, caption: "Mean attention per pair of tokens, from steps two and more further on. Choose one to see where it looks.", unit: "share", signed: false, reach: null, values: layers };
  const end = fromTheEnd(of, result, step);
  const { token, probability, actual, actual_probability } = step.prediction;
  return (
    <div class="beside">
      <dl class="worth">
        <div><dt>the answer with all steps</dt><dd>{percent(result.probability)}</dd></div>
        <div><dt>step {index + 1} hidden from all behind it</dt><dd>{left(step.knockout)}</dd></div>
        <div><dt>step {index + 1} not in the text</dt><dd>{left(step.removal)}</dd></div>
        <div><dt>heads read from it</dt><dd>{number(step.attribution, true)} logits</dd></div>
        <div><dt>at its end the model expects</dt><dd><span class="token">{visible(token)}</span> {percent(probability)}{actual !== null && actual !== token && <>; what comes is <span class="token">{visible(actual)}</span> {percent(actual_probability ?? 0)}</>}</dd></div>
      </dl>
      {end && <Picture key="end" view={{ ...grid, title: `Which heads look at step ${index + 1} from the end`, caption: "Share of the last token's attention, from the patterns above, to about a hundredth. Choose one to see where it looks.", values: end }} />}
      {layers.length > 0 ? <Picture key={grid.title} view={grid} /> : <p class="muted">No step is two or more further on, so none looks back at it.</p>}
    </div>
  );
}

/** Of every head the share of the last token's look that falls on a step; null where the live patterns are pooled, or of another prompt. */
function fromTheEnd(of: Side, { tokens }: Result, step: Step): (number | null)[][] | null {
  const layers = of.layers.value;
  const size = tokens.length;
  if (of.tokens.value.length !== size || of.tokens.value.some((text, index) => text !== tokens[index]) || layers.some((layer) => layer?.pattern && layer.side !== size)) return null;
  return layers.map((layer) => Array.from({ length: layer?.heads?.entropy.length ?? 0 }, (_, head) => {
    const row = layer?.pattern?.subarray(head * size ** 2 + (size - 1) * size, (head + 1) * size ** 2);
    return row ? row.subarray(step.first, step.last).reduce((sum, byte) => sum + (byte / 255) ** 2, 0) : null;
  }));
}

/** What the tokens of a step look at in each earlier one: the sum over its tokens, the mean over those that look. The first token of all, where heads rest, is left out. */
function between(flow: Grid, steps: readonly Step[]): Tie[] {
  return steps.flatMap((to, target) => steps.slice(0, target).map((from, source) => {
    let sum = 0;
    for (let query = to.first; query < to.last; query++) for (let key = Math.max(1, from.first); key < from.last; key++) sum += flow[query]?.[key] ?? 0;
    return { source, target, value: sum / Math.max(1, to.last - to.first) };
  }));
}

const pairs = (grid: Grid): Tie[] => grid.flatMap((row, target) => row.slice(0, target).flatMap((value, source) => (value === null ? [] : [{ source, target, value }])));
