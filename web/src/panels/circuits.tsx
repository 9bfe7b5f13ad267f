/** Which connections an answer takes, as a network: single edges, or a circuit with what it is worth. */
import { useRef } from "preact/hooks";
import type { Shown, View } from "../api/generated";
import { useChoice } from "../state/choices";
import { A, catalogue, sides, type Side } from "../state/lab";
import { percent } from "../draw/text";
import { properties } from "../form/form";
import { Picture } from "../views";
import { PAIRED, pairOf, useBoth } from "./analysis";
import { Sided } from "./sided";

type Kind = { title: string; analysis: "edges" | "circuit"; takes: string; fixed: Record<string, unknown>; task?: true };
const KINDS: Record<string, Kind> = {
  ig: { title: "circuit of the two prompts (EAP-IG)", analysis: "circuit", takes: "Seconds.", fixed: { method: "eap-ig" } },
  task: { title: "circuit of a task, judged on new pairs", analysis: "circuit", takes: "Seconds; the task has prompts of its own.", fixed: { method: "eap-ig" }, task: true },
  acdc: { title: "circuit of the two prompts (ACDC)", analysis: "circuit", takes: "Edges are cut one by one: a minute or two. A higher threshold keeps fewer.", fixed: { method: "acdc" } },
  edges: { title: "single edges, estimated; the largest checked", analysis: "edges", takes: "Less than a second.", fixed: {} },
};

const isGraph = (views: readonly View[]) => views.filter((view) => view.kind === "graph");

export function Circuits() {
  const [kind, setKind] = useChoice("circuits.kind", "ig");
  const [task, setTask] = useChoice("circuits.task", "ioi");
  const [threshold, setThreshold] = useChoice("circuits.threshold", "0.1");
  const chosen = KINDS[kind]!;
  const both = { edges: useBoth("edges", "circuits"), circuit: useBoth("circuit", "circuits") };
  const asked = both[chosen.analysis];
  const drawn = useRef("");
  const known = catalogue.value.find((each) => each.name === "circuit");
  const about = known ? properties(known.parameters).task?.description ?? "" : "";
  const args = (of: Side) => ({
    ...chosen.fixed, ...(chosen.task ? { task } : pairOf(of)), ...(kind === "acdc" && { threshold: Number(threshold) }),
  });
  const now = JSON.stringify([kind, args(A)]);
  const run = (of: Side) => { drawn.current = now; asked[of.name].start(args(of)); };
  const controls = (
    <form class="choices" onSubmit={(event) => { event.preventDefault(); sides.value.forEach(run); }}>
      <label>Find <select value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
        {Object.entries(KINDS).map(([name, { title }]) => <option value={name}>{title}</option>)}
      </select></label>
      {chosen.task && <label title={about}>Task <input type="text" value={task} onInput={(event) => setTask(event.currentTarget.value)} /></label>}
      {kind === "acdc" && <label>Threshold <input type="number" min="0" step="any" value={threshold} onInput={(event) => setThreshold(event.currentTarget.value)} /></label>}
      <button type="submit" class="primary" disabled={asked.busy}>Find it</button>
      <span class="muted">{chosen.takes}{chosen.task && ` ${about}`}</span>
    </form>
  );
  const stale = drawn.current !== "" && drawn.current !== now && (asked.A.answer || asked.B.answer);
  return (
    <Sided id="circuits" title="Circuits" asked={asked} again={run} pick={isGraph} controls={<>{controls}{stale && <p class="muted">The question was changed: below is the earlier answer.</p>}</>}
      empty="Find it: the prompts are those of the sweep."
      about={`What each part writes that another reads, and how much of the answer goes that way; wide is much, dashed is against. A circuit found on one pair of prompts need not hold on others. ${PAIRED}`}
      draw={(answer) => <Circuit answer={answer} />} />
  );
}

type Share = { mean: number; low: number | null; high: number | null };

/** The network, and above it always what it is worth. */
function Circuit({ answer }: { answer: Shown }) {
  const worth = answer.result as { faithfulness?: Share; rest?: Share; random?: number[]; judged_on?: number; task?: string | null; edges?: unknown[]; total?: number };
  const told = ({ mean, low, high }: Share) => percent(mean) + (low === null || high === null ? "" : ` (95 %: ${percent(low)} to ${percent(high)})`);
  const [graph, ...rest] = [...isGraph(answer.network ? [answer.network] : answer.views), ...answer.views.filter((view) => view.kind !== "graph")];
  return (
    <>
      <dl class="worth">
        {worth.faithfulness && worth.rest ? (
          <>
            <div><dt>faithfulness</dt><dd>{told(worth.faithfulness)}</dd></div>
            <div><dt>the model without it</dt><dd>{told(worth.rest)}</dd></div>
            <div><dt>random ones of its size</dt><dd>{worth.random?.length ? percent(Math.max(...worth.random)) : "–"} at most</dd></div>
            <div><dt>edges</dt><dd>{worth.edges?.length} of {worth.total}; judged on {worth.task ? `${worth.judged_on} new pairs` : "the pair it was found on"}</dd></div>
          </>
        ) : <div><dt>faithfulness</dt><dd>not measured: these are single edges. A circuit says what they do together.</dd></div>}
      </dl>
      <p class="summary">{answer.summary}</p>
      {graph && <Picture view={graph} />}
      <details>
        <summary>Its numbers: {rest.map((view) => view.title).join("; ")}</summary>
        <div class="beside">{rest.map((view) => <Picture key={view.title} view={view} />)}</div>
      </details>
    </>
  );
}
