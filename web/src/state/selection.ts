/** One selection and one hover that every picture shares, with the history of the selection. */
import { computed, signal } from "@preact/signals";
import type { Selection } from "../api/generated";

export type { Selection };

export const NONE: Selection = { layer: null, head: null, query: null, key: null };
export const selection = signal<Selection>(NONE);
export const hover = signal<Selection>(NONE);
/** Labels of the tokens that `query` and `key` count: whoever shows pictures of a prompt sets them. */
export const counted = signal<readonly string[]>([]);
/** What panels look at: the hover where there is one, else the selection. */
export const focus = computed(() => (hover.value.head !== null ? { ...selection.value, ...present(hover.value) } : selection.value));

function present(some: Selection): Partial<Selection> {
  return Object.fromEntries(Object.entries(some).filter(([, value]) => value !== null));
}

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

/** What a link says is no step that could be undone. */
export const begunWith = (place: Selection): void => { selection.value = place; };

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
