/** One head in numbers among all others, the rule that named it, and what its weights do. */
import "./inspector.css";
import { number, visible } from "../draw/text";
import { A, B, first, model } from "../state/lab";
import { focus, select } from "../state/selection";
import { Picture } from "../views";
import { useAnalysis, useSide } from "./analysis";
import { Panel, States, Steady } from "./frame";

type Look = { query: number; key: number; weight: number };
type Score = "prev_token_score" | "duplicate_token_score" | "induction_score" | "value_norm" | "entropy" | "concentration";
type Role = Record<Score, number | null> & { site: string; label: string; why: Look | null; top: Look[] };

const SCORES: Record<Score, string> = {
  prev_token_score: "looks at the token before",
  duplicate_token_score: "looks at an earlier same token",
  induction_score: "looks at what followed an earlier same token (induction)",
  concentration: "its largest share, mean over tokens",
  entropy: "entropy: 0 = one token, 1 = an even look",
  value_norm: "norm of what it writes",
};
const NAMED: Record<string, [string, Score]> = {
  previous: ["previous-token head", "prev_token_score"], duplicate: ["duplicate-token head", "duplicate_token_score"], induction: ["induction head", "induction_score"],
};

export function Inspector() {
  const args = (prompt: string) => ({ prompt, seeds: 0 });
  const asked = { A: useSide("head_roles", A, args), B: useSide("head_roles", B, args) };
  const { name, tokens } = first.value;
  const { state, answer, cancel } = asked[name];
  const { layer, head } = focus.value;
  const heads = (answer?.result.heads ?? []) as Role[];
  const role = heads.find((each) => each.site === `z.${layer}.${head}`);
  const threshold = Number(answer?.result.threshold ?? 0.4);
  const text = (index: number) => `${visible(tokens.value[index] ?? "")} ${index}`;
  return (
    <Panel id="inspector" title={layer === null || head === null ? "Head" : `Head L${layer}H${head}${name === "B" ? ", B" : ""}`} answer={answer} state={role ? null : state} onCancel={cancel}
      about="Where this head's attention falls on this prompt, and its place among all heads. A pattern on one prompt does not prove what a head is for." empty="Analyse a prompt first.">
      <Steady of={tokens.value}>{!role ? <p class="state">{layer === null || heads.length === 0 ? "Point at a head, or choose one." : "This head's attention cannot be read."}</p> : (
        <>
          <p class="summary">{named(role, threshold)}</p>
          {role.why && <p>{role.label === "diffuse" ? "Its hardest look" : "The look that counts most"}: {looking(role.why, text)}.</p>}
          <div class="wide" tabIndex={0} role="group" aria-label="the head among all heads">
            <table class="scores">
              <thead><tr><th scope="col">measure</th><th scope="col">here</th><th scope="col">rank</th><th scope="col">above</th><th scope="col">all {heads.length} heads</th></tr></thead>
              <tbody>{(Object.keys(SCORES) as Score[]).map((score) => <Measured score={score} role={role} heads={heads} threshold={threshold} />)}</tbody>
            </table>
          </div>
          {role.top.length > 0 && <p>Largest looks, but for those at the first token and at itself: {role.top.map((look) => <button class="quiet look" onClick={() => select({ layer, head, query: look.query, key: look.key })}>{looking(look, text)}</button>)}</p>}
          <Weights key={role.site} layer={layer!} head={head!} />
        </>
      )}</Steady>
    </Panel>
  );
}

const looking = ({ query, key, weight }: Look, text: (index: number) => string): string => `${text(query)} → ${text(key)}, ${number(weight)}`;

/** The label, and which threshold gave it or did not. */
function named(role: Role, threshold: number): string {
  const known = NAMED[role.label];
  if (known) return `A ${known[0]} on this prompt: that score is ${number(role[known[1]])}, the largest of the three and at least ${number(threshold)}.`.replace("A i", "An i");
  const most = Math.max(...Object.values(NAMED).map(([, score]) => role[score] ?? 0));
  return `No label (diffuse): the largest of its three scores is ${number(most)}, and ${number(threshold)} would name it.`;
}

/** How large a number is among those of all heads. */
export function standing(value: number, all: readonly number[]): { rank: number; above: number } {
  const larger = all.filter((each) => each > value).length;
  const smaller = all.filter((each) => each < value).length;
  return { rank: larger + 1, above: all.length > 1 ? smaller / (all.length - 1) : 0 };
}

function Measured({ score, role, heads, threshold }: { score: Score; role: Role; heads: readonly Role[]; threshold: number }) {
  const value = role[score];
  const all = heads.map((each) => each[score]).filter((each) => each !== null);
  if (value === null) return <tr><th scope="row">{SCORES[score]}</th><td class="number">–</td><td colSpan={3} class="muted">{all.length ? "not measured here" : "no token of this prompt allows it"}</td></tr>;
  const { rank, above } = standing(value, all);
  return (
    <tr>
      <th scope="row">{SCORES[score]}</th><td class="number">{number(value)}</td><td class="number">{rank}</td><td class="number">{Math.floor(above * 100)} %</td>
      <td><Histogram all={all} value={value} threshold={score.endsWith("_score") ? threshold : null} /></td>
    </tr>
  );
}

const [BINS, WIDE, HIGH] = [24, 120, 22];

/** All heads by this number; this one's column is full, the threshold a dashed line. */
function Histogram({ all, value, threshold }: { all: readonly number[]; value: number; threshold: number | null }) {
  const most = Math.max(...all, threshold ?? 0) || 1;
  const bin = (number: number) => Math.min(BINS - 1, Math.max(0, Math.floor((number / most) * BINS)));
  const counts = Array<number>(BINS).fill(0);
  for (const each of all) counts[bin(each)]!++;
  const tallest = Math.max(...counts);
  const said = `${all.length} heads from ${number(Math.min(...all))} to ${number(Math.max(...all))}; this one ${number(value)}`;
  return (
    <svg class="histogram" width={WIDE} height={HIGH} viewBox={`0 0 ${WIDE} ${HIGH}`} role="img" aria-label={said}>
      <title>{said}</title>
      {counts.map((count, index) => count > 0 && (
        <rect class={index === bin(value) ? "here" : ""} x={(index * WIDE) / BINS} width={WIDE / BINS - 1} y={HIGH - 3 - (Math.sqrt(count / tallest) * (HIGH - 8))} height={Math.sqrt(count / tallest) * (HIGH - 8)} />
      ))}
      <line x1={0} x2={WIDE} y1={HIGH - 2.5} y2={HIGH - 2.5} />
      {threshold !== null && <line class="threshold" x1={(threshold / most) * WIDE} x2={(threshold / most) * WIDE} y1={0} y2={HIGH - 3} />}
      <path class="here" d={`M${(bin(value) + 0.5) * (WIDE / BINS) - 3} 0h6l-3 5z`} />
    </svg>
  );
}

/** What the head does by its weights alone, asked for when somebody wants it. */
function Weights({ layer, head }: { layer: number; head: number }) {
  const circuits = { ov: useAnalysis("head_circuits"), qk: useAnalysis("head_circuits") };
  // Rotary positions turn what a head looks for: it is another at every distance, of which one token back is shown.
  const rotary = model.value?.about.positions === "rotary";
  const name = `L${layer}H${head}`;
  const ask = () => {
    circuits.ov.start({ head: name, circuit: "ov", top_k: 5 });
    circuits.qk.start({ head: name, circuit: "qk", top_k: 5, ...(rotary && { distance: 1 }) });
  };
  const asked = circuits.ov.state.status !== "empty";
  return (
    <>
      <p><button onClick={ask}>What do its weights do?</button> {!asked && <span class="muted">Which tokens it promotes for what it reads (OV circuit), and which it looks for (QK circuit), on no prompt.</span>}</p>
      {asked && Object.values(circuits).map(({ state, answer, cancel }) => (
        <States state={state} empty="" old={false} onCancel={cancel} onRetry={ask}>
          <p>{answer?.summary}</p>
          {answer?.views.slice(0, 1).map((view) => <Picture key={view.title} view={view} />)}
        </States>
      ))}
    </>
  );
}
