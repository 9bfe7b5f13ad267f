/** Saving what the page shows as one file, and showing such a file again without computing. */
import { batch, signal } from "@preact/signals";
import { Recording, type Kept } from "../api/recording";
import type { Trouble } from "../api/session";
import { choices, setChoices } from "./choices";
import { A, analyse, analyseShown, B, catalogue, fault, found, load, measure, model, modelOf, other, session, showing, sides, textOf, type Side } from "./lab";
import { carried, MOST, page, PLACE, read, runFile, type RunFile } from "./run-file";
import { history, type Past } from "./runs";
import { begunWith, NONE, placeOf, selection } from "./selection";
import { within } from "./within";

export const opened = signal<RunFile | null>(null);

/** Bytes of patterns that are asked for so that every head can be pointed at in the file. */
const PATTERNS = 4 << 20;

/** What the page shows, as a page of its own. */
export async function saved(): Promise<Blob> {
  const template = await fetch("run.html");
  if (!template.ok) throw new Error("the template of saved runs is missing");
  for (const of of sides.value) await complete(of);
  const answers = session.recording.whole();
  const used = new Set(answers.map(({ ask }) => ask.analysis));
  const run = runFile({
    made: new Date().toISOString(), by: session.version, weights: weights(answers), model: model.value!,
    shown: { A: A.shown.value ?? A.prompt.value, B: (other.value === null ? B.shown.value : null) ?? B.prompt.value, showing: showing.value, measure: measure.value, selection: placeOf(selection.value), choices: choices() },
    analyses: catalogue.value.filter(({ name }) => used.has(name)), answers,
  });
  return new Blob([page(await template.text(), run)], { type: "text/html" });
}

/** Asks for every head's exact pattern, unless they are too many. */
async function complete(of: Side): Promise<void> {
  const layers = of.layers.value.map((layer) => (layer?.pattern ? layer.heads?.entropy.length ?? 0 : 0));
  const heads = layers.reduce((sum, count) => sum + count, 0);
  const run = of.run.value;
  if (!run || of.shown.value === null || heads * of.tokens.value.length ** 2 * 4 > PATTERNS) return;
  for (const [layer, count] of layers.entries()) for (let head = 0; head < count; head++) {
    await new Promise<void>((done) => session.start({ type: "need", of: run.id, layer, head }, () => done()));
  }
}

function weights(answers: readonly Kept[]): string | null {
  for (const { texts } of answers) for (const text of texts) {
    const recipe = text.type === "result" ? text.result.recipe as { weights?: unknown } | undefined : undefined;
    if (typeof recipe?.weights === "string") return recipe.weights;
  }
  return null;
}

/** Shows a file that somebody chose or dropped, or says why not. */
export async function openFile(file: File): Promise<void> {
  fault.value = null;
  if (file.size > MOST) {
    fault.value = { error: "file", message: `${file.name} has ${Math.ceil(file.size / 1e6)} MB; the lab opens at most ${Math.floor(MOST / 1e6)}`, hint: "Open it in the browser by itself." };
    return;
  }
  try {
    show(read(file.name, carried(file.name, await file.text())), "Compute again here, or close the saved run.");
  } catch (error) {
    fault.value = error instanceof Error ? { error: "file", message: `${file.name} cannot be read`, hint: error.message } : error as Trouble;
  }
}

/** Shows the run that this page carries. */
export function openOwn(): void {
  try {
    show(read("this file", document.getElementById(PLACE)!.textContent!), "Open this file in fluoro lab, which can compute it.");
  } catch (error) {
    fault.value = error as Trouble;
  }
}

type Before = { A: string; B: string; measure: string; choices: Record<string, string>; history: readonly Past[] };
let before: Before | null = null;
let count = 0;

function show(run: RunFile, hint: string): void {
  before ??= { A: A.prompt.value, B: B.prompt.value, measure: measure.value, choices: choices(), history: history.value };
  reset();
  const names = new Recording();
  const answers = new Map(run.answers.map((kept) => [names.name(kept.ask), kept]));
  session.saved = { name: `${run.made} ${++count}`, answers, hint };
  setChoices(run.shown.choices);
  batch(() => {
    model.value = run.model;
    catalogue.value = run.analyses;
    begin(run.shown);
    showing.value = run.shown.showing;
    begunWith(run.shown.selection);
    opened.value = run;
  });
  for (const of of [A, B]) if (run.answers.some(({ ask }) => ask.type === "live" && ask.prompt === textOf(of) && (ask.model ?? null) === (modelOf(of).model ?? null))) analyse(of);
  within("This saved run");
}

const begin = ({ A: one, B: other, measure: shown }: { A: string; B: string; measure: string }) => { A.prompt.value = one; B.prompt.value = other; measure.value = shown; };

/** Back to the server; to what was there before, or to the prompts of the run, which are then computed. */
export function close(again: boolean): void {
  reset();
  session.saved = null;
  if (!again && before) setChoices(before.choices);
  history.value = before?.history ?? [];
  batch(() => {
    if (!again && before) begin(before);
    if (!again) showing.value = "A";
    begunWith(NONE);
    opened.value = null;
  });
  before = null;
  void load();
  if (again) analyseShown();
}

function reset(): void {
  batch(() => {
    for (const of of [A, B]) {
      of.run.value?.drop();
      of.run.value = null;
      of.shown.value = null;
      of.tokens.value = [];
      of.layers.value = [];
    }
    found.value = {};
    history.value = [];
  });
  session.recording.clear();
}
