/** A panel that shows an analysis of the registry: asked again whenever what it is about changes. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { HeadGrid, Shown, View } from "../api/generated";
import { EMPTY, type Run, type RunState } from "../api/session";
import { answered, keep } from "../state/answers";
import { A, B, found, session, showing, sides, type Side } from "../state/lab";
import { useChoice } from "../state/choices";
import { Picture } from "../views";
import { Panel, States } from "./frame";

export type Asking = {
  state: RunState; answer: Shown | null;
  /** The arguments that were asked last, as JSON; "" before the first. */
  asked: string;
  start: (args: Record<string, unknown>, again?: boolean) => void; cancel: () => void; forget: () => void;
};

/** The newest run of an analysis, and the newest answer, also one that is still filling; a new run calls the old one off.
 * A panel that asks only when it is told to gives its name: a saved run then shows what it asked last. */
export function useAnalysis(name: string, panel = ""): Asking {
  const [run, setRun] = useState<Run | null>(null);
  const newest = useRef<Run | null>(null);
  const [asked, setAsked] = useChoice(panel && `${panel}.${name}`, "");
  const answer = useRef<Shown | null>(null);
  const state = run?.state.value ?? EMPTY;
  if (state.answer ?? state.partial) answer.current = state.answer ?? state.partial;
  useEffect(() => { if (state.answer && run) keep(String(run.ask.analysis), run.ask.arguments as object, state.answer); }, [state.answer]);
  const change = (next: Run | null) => { newest.current?.drop(); newest.current = next; setRun(next); };
  useEffect(() => () => newest.current?.drop(), []);
  const question = (args: Record<string, unknown>) => ({ type: "run", analysis: name, arguments: args }) as const;
  const start = (args: Record<string, unknown>, again = true) => {
    const before = again ? undefined : answered(name, args);
    setAsked(JSON.stringify(args));
    change(before ? session.known(question(args), before) : session.start(question(args)));
  };
  useEffect(() => {
    const before = asked && (JSON.parse(asked) as Record<string, unknown>);
    if (before && session.knows(question(before))) start(before);
  }, []);
  return {
    state, answer: answer.current, asked, start, cancel: () => newest.current?.cancel(),
    forget: () => { answer.current = null; change(null); },
  };
}

/** The same analysis of a prompt, asked again when the prompt that is shown, or what is asked of it, changes. */
export function useSide(name: string, of: Side, args: (prompt: string) => Record<string, unknown>): Asking {
  const asking = useAnalysis(name);
  const wanted = sides.value.includes(of);
  const text = of.shown.value;
  const failed = of.run.value?.state.value.status === "error" || of.run.value?.state.value.status === "cancelled";
  const asked = useRef<string | null>(null);
  const given = text === null ? null : JSON.stringify([name, args(text)]);
  useEffect(() => {
    if (wanted && text !== null && asked.current !== given) { asked.current = given; asking.start(args(text), false); }
    if (text === null) asked.current = null;
    if (text === null && failed) asking.forget();
  }, [wanted, given, failed]);
  return asking;
}

type Props = {
  id: string; title: string; about: string; analysis: string; pick: (views: readonly View[]) => readonly View[];
  /** Under which name its head grid is offered to the head map. */
  grid?: string;
  /** What is asked beside the prompt. */
  more?: () => Record<string, unknown>;
  /** Instead of the pictures that `pick` leaves. */
  draw?: (answer: Shown, of: Side) => ComponentChildren;
  /** What stands above and below all of it. */
  before?: ComponentChildren; after?: ComponentChildren;
};

export function AnalysisPanel({ id, title, about, analysis, pick, grid, more, draw, before, after }: Props) {
  const args = (prompt: string) => ({ prompt, ...more?.() });
  const asked = { A: useSide(analysis, A, args), B: useSide(analysis, B, args) };
  const shown = sides.value.map((of) => asked[of.name]);
  const [one] = shown as [Asking];
  const both = shown.length === 2;
  const grids = shown.map(({ answer }) => answer?.views.find((view): view is HeadGrid => view.kind === "head_grid"));
  const offered = both ? grids[0] && grids[1] && less(grids[0], grids[1]) : grids[0];
  useEffect(() => {
    if (grid && offered) found.value = { ...found.value, [grid]: offered };
  }, [shown[0]?.answer, shown[1]?.answer, showing.value]);
  const again = ({ start }: Asking, of: Side) => () => { if (of.shown.value !== null) start(args(of.shown.value)); };
  const empty = "Analyse a prompt to fill this.";
  const said = (asking: Asking, of: Side) => (
    <>
      <p class="summary">{asking.answer?.summary}</p>
      {draw ? asking.answer && draw(asking.answer, of) : <div class="beside">{pick(asking.answer?.views ?? []).map((view) => <Picture key={view.title} view={view} />)}</div>}
    </>
  );
  if (!both) return (
    <Panel id={id} title={title} about={about} state={one.state} answer={one.answer} empty={empty} onCancel={one.cancel} onRetry={again(one, sides.value[0]!)} before={before}>{said(one, sides.value[0]!)}{after}</Panel>
  );
  return (
    <Panel id={id} title={title} about={about} state={null} answer={one.answer} before={before}>
      <div class="pair">
        {shown.map((asking, index) => (
          <div data-status={asking.state.status}>
            <h3>{sides.value[index]!.name}</h3>
            <States state={asking.state} empty={empty} old={asking.answer !== null} onCancel={asking.cancel} onRetry={again(asking, sides.value[index]!)}>{said(asking, sides.value[index]!)}</States>
          </div>
        ))}
      </div>
      {grid && offered && <Picture view={offered} />}
      {after}
    </Panel>
  );
}

/** The numbers of one less those of another, head by head. */
function less(one: HeadGrid, other: HeadGrid): HeadGrid {
  const values = one.values.map((row, i) => row.map((value, j) => {
    const second = other.values[i]?.[j] ?? null;
    return value === null || second === null ? null : value - second;
  }));
  return { ...one, title: `A − B: ${one.title}`, caption: "Blue is more in A, orange more in B.", signed: true, reach: null, values };
}
