/** What the page knows: the model, the prompt, the live run, what the panels found. */
import { batch, computed, effect, signal, untracked, type Signal } from "@preact/signals";
import { Session, type Run, type Trouble } from "../api/session";
import type { Analysis, HeadGrid, Heads, Preset, Said, Shown } from "../api/generated";
import { choice } from "./choices";
import { history, remember } from "./runs";
import { clear, counted } from "./selection";

export type LiveLayer = { heads: Heads | null; says: readonly Said[]; pattern: Uint8Array | null; side: number };
export type ModelInfo = { name: string; choices: string[]; about: Record<string, unknown> };

/** One of the two prompts, with its live run: A is what the page is about, B what it is compared with. */
export type Side = {
  name: "A" | "B"; prompt: Signal<string>;
  /** The prompt that the panels show, which the text area may have left behind. */
  shown: Signal<string | null>;
  tokens: Signal<readonly string[]>; ids: Signal<readonly number[]>; layers: Signal<readonly (LiveLayer | null)[]>; run: Signal<Run | null>;
};

const side = (name: "A" | "B", text: string): Side => ({
  name, prompt: signal(text), shown: signal(null), tokens: signal([]), ids: signal([]), layers: signal([]), run: signal(null),
});

export const session = new Session();
export const model = signal<ModelInfo | null>(null);
export const catalogue = signal<Analysis[]>([]);
export const presets = signal<Preset[]>([]);
export const trouble = signal<Trouble | null>(null);
/** What was brought from elsewhere, a file or a link, and could not be taken. */
export const fault = signal<Trouble | null>(null);

export const A = side("A", "When Mary and John went to the store, John gave a drink to");
export const B = side("B", "When Mary and John went to the store, Mary gave a drink to");

export type Showing = "A" | "B" | "A−B";
export const showing = signal<Showing>("A");
/** The prompts that the panels show, side by side where there are two. */
export const sides = computed<readonly Side[]>(() => (showing.value === "A" ? [A] : showing.value === "B" ? [B] : [A, B]));
export const first = computed(() => sides.value[0]!);

/** The model of B where two models are compared, on prompt A; null where two prompts are. */
export const other = choice<string | null>("other", null);
export const textOf = (of: Side): string => (of === B && other.value !== null ? A : of).prompt.value;
/** What an ask of a side names: nothing where it is the model that all see. */
export const modelOf = (of: Side): { model?: string } => (of === B && other.value !== null ? { model: other.value } : {});

/** Compares with another model, or with another prompt again. */
export function compareWith(name: string | null): void {
  other.value = name;
  if (sides.value.includes(B)) analyse(B);
  else B.shown.value = null;
}

/** What the head map can colour beside the live measures: numbers that other panels found. */
export const found = signal<Readonly<Record<string, Found>>>({});
/** With the lines of Python that make it, one of each side that is shown. */
export type Found = HeadGrid & { scripts: readonly string[] };

/** What a panel found of each head; null where it no longer has it. */
export function offer(name: string, grid: HeadGrid | null, answers: readonly (Shown | null)[] = []): void {
  const { [name]: before, ...rest } = found.value;
  const scripts = answers.map((answer) => (answer?.result as { call?: { script: string } } | undefined)?.call?.script ?? "");
  if (grid) found.value = { ...found.value, [name]: { ...grid, scripts } };
  else if (before) found.value = rest;
}
export const measure = signal("pattern");

effect(() => { counted.value = first.value.tokens.value; });

// ── asking ─────────────────────────────────────────────────────────────────────────────────────────

async function read<T>(address: string): Promise<T> {
  const answer = await fetch(address);
  if (!answer.ok) throw (await answer.json()) as Trouble;
  return (await answer.json()) as T;
}

const LOST: Trouble = { error: "lost", message: "The server does not answer.", hint: "Is fluoro lab still running? The page goes on by itself once it is." };

/** Fetches what the server offers: each as it comes, since the model may take long to load. */
export async function load(): Promise<void> {
  const failed = (error: unknown) => { trouble.value = error instanceof Error ? LOST : (error as Trouble); };
  const take = (taken: () => void) => { if (!session.saved) taken(); }; // a saved run brings its own
  await Promise.all([
    read<Analysis[]>("api/analyses").then((answer) => take(() => (catalogue.value = answer))),
    read<Preset[]>("api/presets").then((answer) => (presets.value = answer)),
    read<ModelInfo>("api/model").then((answer) => take(() => { model.value = answer; trouble.value = null; })),
  ].map((reading) => reading.catch(failed)));
}

export function begin(): void {
  let before = session.connected.value;
  effect(() => {
    const now = session.connected.value;
    if (now === "ready" && before === "lost") untracked(resume);
    before = now;
  });
  session.open();
  void load();
}

/** After the connection was lost: the server has forgotten this page's runs. */
function resume(): void {
  if (model.value === null || catalogue.value.length === 0) void load();
  for (const each of [A, B]) {
    const text = each.shown.value ?? (each.run.value?.state.value.trouble?.error === "lost" ? String(each.run.value.ask.prompt) : null);
    if (text !== null) analyse(each, text);
  }
}

/** Runs a prompt: layers arrive while the model computes. */
export function analyse(of: Side, asked: string = textOf(of)): void {
  of.run.value?.drop();
  batch(() => {
    of.shown.value = null;
    of.tokens.value = [];
    of.layers.value = [];
  });
  of.run.value = session.start({ type: "live", prompt: asked, beside: (of === A ? B : A).run.value?.id ?? null, ...modelOf(of) }, ({ text, frame }) => {
    if (text?.type === "tokens") batch(() => { of.tokens.value = text.labels; of.ids.value = text.ids; });
    if (text?.type === "done") { of.shown.value = asked; if (modelOf(of).model === undefined) remember(of); }
    if (frame?.header.type === "layer") {
      const { layer, of: count, heads, says } = frame.header;
      const next = of.layers.value.length === count ? [...of.layers.value] : Array<LiveLayer | null>(count).fill(null);
      next[layer] = {
        heads: heads ?? null, says: says ?? [], side: frame.shapes.pattern?.[1] ?? 0,
        pattern: (frame.parts.pattern as Uint8Array | undefined) ?? null,
      };
      of.layers.value = next;
    }
  });
}

/** Shows one prompt, the other, or both and their difference; what is not known yet is asked. */
export function show(wanted: Showing): void {
  showing.value = wanted;
  for (const each of sides.value) if (each.shown.value !== textOf(each) && (each === B || A.run.value !== null || wanted !== "A")) analyse(each);
}

/** Runs the prompts that are shown. */
export const analyseShown = (): void => sides.value.forEach((each) => analyse(each));

export function switchModel(name: string): Run {
  const shownBefore = sides.value.some((each) => each.shown.value !== null);
  return session.start({ type: "model", name }, ({ text }) => {
    if (text?.type !== "done") return;
    batch(() => {
      clear();
      session.recording.clear();
      found.value = {};
      if (other.value === name) other.value = null;
      history.value = [];
      for (const each of [A, B]) { each.layers.value = []; each.tokens.value = []; each.shown.value = null; }
    });
    void read<ModelInfo>("api/model").then((answer) => {
      model.value = answer;
      if (shownBefore) analyseShown();
    });
  });
}
