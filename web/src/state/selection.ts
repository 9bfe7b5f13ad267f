/** One selection and one hover that every picture shares. */
import { computed, signal } from "@preact/signals";
import type { Selection } from "../api/generated";
import { change } from "./history";

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

export const select = (part: Partial<Selection>): void => change(selection, { ...selection.value, ...part });

export const clear = (): void => select(NONE);

/** What a link says is no step that could be undone. */
export const begunWith = (place: Selection): void => { selection.value = place; };

/** "z.4.2" and "L4H2" as a selection; null where it is no head. */
export function headOf(site: string | null): { layer: number; head: number } | null {
  const found = site && (/^(?:z|q|k|v|pattern|head_out)\.(\d+)\.(\d+)$/.exec(site) ?? /^L(\d+)H(\d+)$/.exec(site));
  return found ? { layer: Number(found[1]), head: Number(found[2]) } : null;
}
