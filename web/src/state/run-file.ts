/** A saved run as a file: a page that a browser opens by itself, and from which the lab reads the run again. */
import { readFrame } from "../api/frames";
import type { Analysis, FromServer, Selection } from "../api/generated";
import type { Ask, Kept } from "../api/recording";
import type { Trouble } from "../api/session";
import type { ModelInfo, Showing } from "./lab";
import { NONE } from "./selection";

type Stored = { ask: Ask; texts: FromServer[]; frames: string[] };
type Shown = { A: string; B: string; showing: Showing; measure: string; selection: Selection; choices: Record<string, string> };
export type RunFile = {
  format: typeof FORMAT; version: typeof VERSION;
  /** When, by which version of Fluoroscope, of which weights. */
  made: string; by: string; weights: string | null; model: ModelInfo;
  shown: Shown; analyses: Analysis[]; answers: Kept[];
};

const FORMAT = "fluoroscope-run";
const VERSION = 1;
/** Where the page of a file carries its run. */
export const PLACE = "fluoroscope-run";
/** Whether this page is such a file, opened by itself: there is no server. */
export const alone = document.getElementById(PLACE) !== null;
const RESULT = "fluoroscope-views";
export const MOST = 128 << 20;

export const runFile = (parts: Omit<RunFile, "format" | "version">): RunFile => ({ format: FORMAT, version: VERSION, ...parts });

const BEGIN = `<script type="application/json" id="${PLACE}">`;
const END = "</script>";
const WORDS = '<div id="lab">';

/** A run in the page that shows it; a viewer that runs no scripts is told in words. The page is a text all along: a document of it would be held to this page's policy. */
export function page(template: string, run: RunFile): string {
  const words = document.createElement("div");
  const told = (kind: string, text: string) => words.append(Object.assign(document.createElement(kind), { textContent: text }));
  const { model, weights, answers } = run;
  told("h1", `A saved run of ${model.name}`);
  told("p", `Made ${run.made} by Fluoroscope ${run.by}${weights ? `, weights ${weights}` : ""}. Its pictures need a browser that runs the script in this file.`);
  for (const { ask } of answers) if (ask.type === "live") told("p", `Prompt: ${String(ask.prompt)}`);
  for (const { texts } of answers) for (const text of texts) if (text.type === "result") { told("h2", text.title); told("p", text.summary); }
  const stored = { ...run, answers: answers.map(({ frames, ...kept }): Stored => ({ ...kept, frames: frames.map(encoded) })) };
  const data = JSON.stringify(stored).replaceAll("<", "\\u003c"); // so that no text in it ends the element
  return template.replace(WORDS, () => WORDS + words.innerHTML).replace(BEGIN, () => BEGIN + data);
}

/** What a file carries, as text. */
export function carried(name: string, file: string): string {
  const [begin, end] = [file.indexOf(BEGIN), file.indexOf(END, file.indexOf(BEGIN))];
  if (begin >= 0) return file.slice(begin + BEGIN.length, end < 0 ? undefined : end);
  throw file.includes(`id="${RESULT}"`)
    ? trouble(`${name} is a saved result, not a saved run`, "Open it in the browser by itself; the lab opens what Save run made.")
    : trouble(`${name} is no saved run of Fluoroscope`, "Choose a file that Save run made.");
}

/** The run in what a file carries. */
export function read(name: string, text: string): RunFile {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw trouble(`${name} is cut short or damaged: what it carries is no JSON`, "Copy it again, or save the run again.");
  }
  try {
    return checked(found);
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    throw trouble(`${name} cannot be opened: ${error.message}`, error.hint);
  }
}

const trouble = (message: string, hint: string): Trouble => ({ error: "file", message, hint });

class Wrong extends Error {
  constructor(message: string, readonly hint = "It was changed or damaged: copy it again, or save the run again.") { super(message); }
}

// ── checks ─────────────────────────────────────────────────────────────────────────────────────────

type Fields = Record<string, unknown>;

function fields(what: string, value: unknown, names: readonly string[]): Fields {
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Wrong(`${what} is no object`);
  const unknown = Object.keys(value).find((name) => !names.includes(name));
  const missing = names.find((name) => !(name in value));
  if (unknown !== undefined) throw new Wrong(`${what} has an unknown entry ${JSON.stringify(unknown)}`);
  if (missing !== undefined) throw new Wrong(`${what} has no ${missing}`);
  return value as Fields;
}

function all<T>(what: string, value: unknown, good: (part: unknown) => boolean): T[] {
  if (!Array.isArray(value) || !value.every(good)) throw new Wrong(`${what} is not as it should be`);
  return value as T[];
}

const isText = (value: unknown): value is string => typeof value === "string";
const isObject = (value: unknown): value is Fields => value !== null && typeof value === "object" && !Array.isArray(value);
const oneOf = (...names: string[]) => (value: unknown): boolean => isText(value) && names.includes(value);

function checked(found: unknown): RunFile {
  const head = isObject(found) ? found : {};
  if (head.format !== FORMAT) throw new Wrong("it carries something else than a run");
  if (head.version !== VERSION) throw new Wrong(`it is of version ${JSON.stringify(head.version)}, and this lab reads ${VERSION}`, "Update Fluoroscope, or open the file in the browser by itself.");
  const run = fields("the run", found, ["format", "version", "made", "by", "weights", "model", "shown", "analyses", "answers"]);
  const model = fields("the model", run.model, ["name", "choices", "about"]);
  const shown = fields("what is shown", run.shown, ["A", "B", "showing", "measure", "selection", "choices"]);
  const place = fields("the selection", shown.selection, Object.keys(NONE));
  const sound = [run.made, run.by, run.weights ?? "", model.name, shown.A, shown.B, shown.measure].every(isText) && isObject(model.about)
    && oneOf("A", "B", "A−B")(shown.showing) && isObject(shown.choices) && Object.values(shown.choices).every(isText)
    && Object.values(place).every((part) => part === null || (Number.isInteger(part) && Number(part) >= 0));
  if (!sound) throw new Wrong("what it shows is not as it should be");
  all("the list of models", model.choices, isText);
  all("the list of analyses", run.analyses, isObject);
  const answers = all<unknown>("the list of answers", run.answers, isObject).map(answer);
  return { ...(run as unknown as RunFile), answers };
}

function answer(found: unknown): Kept {
  const { ask, texts, frames } = fields("an answer", found, ["ask", "texts", "frames"]);
  if (!isObject(ask) || !oneOf("live", "run", "need")(ask.type)) throw new Wrong("an answer is to no known question");
  const said = all<FromServer>("what was said", texts, (text) => isObject(text) && oneOf("tokens", "result", "done")(text.type));
  for (const text of said) if (text.type === "result" && !(isText(text.title) && isText(text.summary) && isObject(text.result))) throw new Wrong("a result is not as it should be");
  for (const text of said) if (text.type === "result") all("the list of views", text.views, (view) => isObject(view) && isText(view.kind));
  for (const text of said) if (text.type === "tokens") { all("tokens", text.labels, isText); all("ids of tokens", text.ids, Number.isInteger); }
  const buffers = all<string>("the list of frames", frames, isText).map(decoded);
  return { ask: ask as Ask, texts: said, frames: buffers };
}

// ── bytes ──────────────────────────────────────────────────────────────────────────────────────────

function encoded(frame: ArrayBuffer): string {
  const [bytes, parts]: [Uint8Array, string[]] = [new Uint8Array(frame), []];
  for (let start = 0; start < bytes.length; start += 0x8000) parts.push(String.fromCharCode(...bytes.subarray(start, start + 0x8000)));
  return btoa(parts.join(""));
}

function decoded(text: string): ArrayBuffer {
  try {
    const frame = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
    readFrame(frame);
    return frame;
  } catch {
    throw new Wrong("a layer cannot be read");
  }
}
