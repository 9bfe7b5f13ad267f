/** A panel that shows an analysis of the registry: asked again whenever what it is about changes. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { HeadGrid, Shown, View } from "../api/generated";
import { EMPTY, type Run, type RunState } from "../api/session";
import { answered, keep } from "../state/answers";
import { A, B, modelOf, offer, other, session, showing, sides, textOf, type Side } from "../state/lab";
import { useChoice } from "../state/choices";
import { difference } from "../views/difference";
import { failed } from "./frame";
import { Sided } from "./sided";

type Given = Record<string, unknown>;
export type Asking = {
  state: RunState; answer: Shown | null;
  /** The arguments that were asked last, as JSON; "" before the first. */
  asked: string;
  start: (args: Given, again?: boolean) => void; cancel: () => void; forget: () => void;
};

/** The newest run of an analysis, and the newest answer, also one that is still filling; a new run calls the old one off.
 * A panel that asks only when it is told to gives its name: a saved run then shows what it asked last. */
export function useAnalysis(name: string, panel = "", of: Side = A): Asking {
  const [run, setRun] = useState<Run | null>(null);
  const newest = useRef<Run | null>(null);
  const [asked, setAsked] = useChoice(panel && `${panel}.${name}${of === B ? ".B" : ""}`, "");
  const answer = useRef<Shown | null>(null);
  const state = run?.state.value ?? EMPTY;
  if (state.answer ?? state.partial) answer.current = state.answer ?? state.partial;
  useEffect(() => {
    if (state.answer && run) keep(String(run.ask.analysis), run.ask.arguments as object, state.answer, run.ask.model as string | undefined);
  }, [state.answer]);
  const change = (next: Run | null) => { newest.current?.drop(); newest.current = next; setRun(next); };
  useEffect(() => () => newest.current?.drop(), []);
  const whose = modelOf(of).model;
  const before = useRef(whose);
  useEffect(() => { // what another model answered is not this one's
    if (before.current === whose) return;
    before.current = whose;
    answer.current = null;
    change(null);
  }, [whose]);
  const question = (args: Given) => ({ type: "run", analysis: name, arguments: args, ...modelOf(of) }) as const;
  const start = (args: Given, again = true) => {
    const before = again ? undefined : answered(name, args, modelOf(of).model);
    setAsked(JSON.stringify(args));
    change(before ? session.known(question(args), before) : session.start(question(args)));
  };
  useEffect(() => {
    const before = asked && (JSON.parse(asked) as Given);
    if (before && session.knows(question(before))) start(before);
  }, []);
  return {
    state, answer: answer.current, asked, start, cancel: () => newest.current?.cancel(),
    forget: () => { answer.current = null; change(null); },
  };
}

/** Both sides of a question that is asked by hand. */
export function useBoth(name: string, panel: string): Record<Side["name"], Asking> & { busy: boolean } {
  const [one, two] = [useAnalysis(name, panel, A), useAnalysis(name, panel, B)];
  const busy = sides.value.some((of) => /queued|running/.test((of === A ? one : two).state.status));
  return { A: one, B: two, busy };
}

/** The two prompts of a question about a change: B asks them the other way round, or the same of its model. */
export function pairOf(of: Side): { clean: string; corrupted: string } {
  const [clean, corrupted] = of === B && other.value === null ? [B, A] : [A, B];
  return { clean: clean.prompt.value, corrupted: corrupted.prompt.value };
}

export const PAIRED = "Compared, B is the same with the two prompts exchanged; with another model, the same asked of it.";

/** Whether an element is in sight, or nearly. */
export function useSight(id: string): boolean {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const box = document.getElementById(id);
    if (!box) return;
    const watch = new IntersectionObserver((entries) => setSeen(entries[entries.length - 1]!.isIntersecting), { rootMargin: "300px" });
    watch.observe(box);
    return () => watch.disconnect();
  }, [id]);
  return seen;
}

/** The same analysis of a prompt, asked again when the prompt that is shown, or what is asked of it, changes. */
export function useSide(name: string, of: Side, args: (prompt: string) => Given, inSight = true): Asking {
  const asking = useAnalysis(name, "", of);
  const wanted = inSight && sides.value.includes(of);
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
  more?: () => Given;
  /** Instead of the pictures that `pick` leaves, which are those that are compared. */
  draw?: (answer: Shown, of: Side) => ComponentChildren;
  /** What stands above and below all of it. */
  before?: ComponentChildren; after?: ComponentChildren;
};

export function AnalysisPanel({ id, title, about, analysis, pick, grid, more, draw, before, after }: Props) {
  const args = (prompt: string) => ({ prompt, ...more?.() });
  const asked = { A: useSide(analysis, A, args), B: useSide(analysis, B, args) };
  const shown = sides.value.map((of) => asked[of.name]);
  const grids = shown.map(({ answer }) => answer?.views.find((view): view is HeadGrid => view.kind === "head_grid"));
  const less = grids[0] && grids[1] && difference(grids[0], grids[1], other.value === null);
  const offered = shown.length === 2 ? less : grids[0];
  useEffect(() => {
    if (grid && shown.some(({ state }) => failed(state))) offer(grid, null);
    else if (grid && typeof offered === "object" && shown.every(({ state }) => state.status === "ready")) offer(grid, offered as HeadGrid, shown.map(({ answer }) => answer));
  }, [shown[0]?.answer, shown[1]?.answer, shown[0]?.state.status, shown[1]?.state.status, showing.value]);
  return (
    <Sided id={id} title={title} about={about} asked={asked} pick={pick} empty="Analyse a prompt to fill this." controls={before} after={after}
      {...(draw && { draw: (answer: Shown, of: Side) => <><p class="summary">{answer.summary}</p>{draw(answer, of)}</> })}
      again={(of) => { if (of.shown.value !== null) asked[of.name].start(args(textOf(of))); }} />
  );
}
