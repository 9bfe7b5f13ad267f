/** What the page knows: the model, the prompt, the live run, one selection and one hover that every panel shares. */
import { batch, computed, effect, signal } from "@preact/signals";
import { Session, type Run } from "../api/session";
import type { Analysis, Heads, Preset, Said } from "../api/generated";

export type Selection = { layer: number | null; head: number | null; query: number | null; key: number | null };
export type LiveLayer = { heads: Heads | null; says: readonly Said[]; pattern: Uint8Array | null; side: number };
export type ModelInfo = { name: string; choices: string[]; about: Record<string, unknown> };

export const session = new Session();
export const model = signal<ModelInfo | null>(null);
export const catalogue = signal<Analysis[]>([]);
export const presets = signal<Preset[]>([]);
export const trouble = signal<string | null>(null);

export const prompt = signal("When Mary and John went to the store, John gave a drink to");
export const corrupted = signal("When Mary and John went to the store, Mary gave a drink to");
/** The prompt that the panels show, which the text area may have left behind. */
export const shown = signal<string | null>(null);
export const tokens = signal<readonly string[]>([]);
export const ids = signal<readonly number[]>([]);
export const layers = signal<readonly (LiveLayer | null)[]>([]);
export const live = signal<Run | null>(null);

const NONE: Selection = { layer: null, head: null, query: null, key: null };
export const selection = signal<Selection>(NONE);
export const hover = signal<Selection>(NONE);
/** What panels look at: the hover where there is one, else the selection. */
export const focus = computed(() => (hover.value.head !== null ? { ...selection.value, ...present(hover.value) } : selection.value));

export const theme = signal<"system" | "light" | "dark">((localStorage.getItem("theme") as "light" | "dark" | null) ?? "system");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(prefersDark.matches);
prefersDark.addEventListener("change", (event) => (systemDark.value = event.matches));
export const dark = computed(() => (theme.value === "system" ? systemDark.value : theme.value === "dark"));
effect(() => {
  document.documentElement.dataset.theme = dark.value ? "dark" : "light";
  if (theme.value === "system") localStorage.removeItem("theme");
  else localStorage.setItem("theme", theme.value);
});

function present(some: Selection): Partial<Selection> {
  return Object.fromEntries(Object.entries(some).filter(([, value]) => value !== null));
}

// ── selection, with its history ────────────────────────────────────────────────────────────────────

const past: Selection[] = [];
const future: Selection[] = [];

export function select(change: Partial<Selection>): void {
  const next = { ...selection.value, ...change };
  if (JSON.stringify(next) === JSON.stringify(selection.value)) return;
  past.push(selection.value);
  future.length = 0;
  selection.value = next;
}

export const clear = (): void => select(NONE);

export function undo(): void {
  const last = past.pop();
  if (last) { future.push(selection.value); selection.value = last; }
}

export function redo(): void {
  const next = future.pop();
  if (next) { past.push(selection.value); selection.value = next; }
}

/** "z.4.2" and "L4H2" as a selection; null where it is no head. */
export function headOf(site: string | null): { layer: number; head: number } | null {
  const found = site && (/^(?:z|q|k|v|pattern|head_out)\.(\d+)\.(\d+)$/.exec(site) ?? /^L(\d+)H(\d+)$/.exec(site));
  return found ? { layer: Number(found[1]), head: Number(found[2]) } : null;
}

// ── asking ─────────────────────────────────────────────────────────────────────────────────────────

async function read<T>(address: string): Promise<T> {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return (await answer.json()) as T;
}

export async function begin(): Promise<void> {
  session.open();
  try {
    [catalogue.value, presets.value, model.value] = await Promise.all([
      read<Analysis[]>("api/analyses"), read<Preset[]>("api/presets"), read<ModelInfo>("api/model"),
    ]);
  } catch (error) {
    trouble.value = `The server does not answer: ${(error as Error).message}`;
  }
}

/** Runs the prompt: layers arrive while the model computes. */
export function analyse(): void {
  live.value?.cancel();
  const asked = prompt.value;
  batch(() => {
    shown.value = null;
    tokens.value = [];
    layers.value = [];
  });
  live.value = session.start({ type: "live", prompt: asked }, ({ text, frame }) => {
    if (text?.type === "tokens") batch(() => { tokens.value = text.labels; ids.value = text.ids; });
    if (text?.type === "done") shown.value = asked;
    if (frame?.header.type === "layer") {
      const { layer, of, heads, says } = frame.header;
      const next = layers.value.length === of ? [...layers.value] : Array<LiveLayer | null>(of).fill(null);
      next[layer] = {
        heads: heads ?? null, says: says ?? [], side: frame.shapes.pattern?.[1] ?? 0,
        pattern: (frame.parts.pattern as Uint8Array | undefined) ?? null,
      };
      layers.value = next;
    }
  });
}

export function switchModel(name: string): Run {
  const run = session.start({ type: "model", name }, ({ text }) => {
    if (text?.type === "done") {
      batch(() => { clear(); layers.value = []; tokens.value = []; shown.value = null; });
      void read<ModelInfo>("api/model").then((found) => (model.value = found));
    }
  });
  return run;
}
