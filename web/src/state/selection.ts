/** One selection and one hover that every picture shares. */
import { computed, signal } from "@preact/signals";
import type { Selection as Place } from "../api/generated";
import { change } from "./history";

/** A place that files and notebooks know, and what only the page has. */
export type Selection = Place & {
  /** Site of a neuron, such as neurons.3.359. */
  neuron?: string | null;
  /** Several tokens, such as a step of a reasoning: the first, and one past the last. */
  span?: readonly [number, number] | null;
};


export const NONE: Place = { layer: null, head: null, query: null, key: null };
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

export const clear = (): void => select({ ...NONE, neuron: null, span: null });

export const placeOf = ({ layer, head, query, key }: Selection): Place => ({ layer, head, query, key });

/** What a link says is no step that could be undone. */
export const begunWith = (place: Selection): void => { selection.value = place; };

/** Whether a token is one of those that are chosen together. */
export const inSpan = (index: number): boolean => {
  const span = selection.value.span;
  return !!span && index >= span[0] && index < span[1];
};

/** "neurons.3.359" and "L3N359" as the site of a neuron; null where it is none. */
export function neuronOf(site: string | null): string | null {
  const found = site && (/^neurons\.(\d+)\.(\d+)$/.exec(site) ?? /^L(\d+)N(\d+)$/.exec(site));
  return found ? `neurons.${found[1]}.${found[2]}` : null;
}

/** "z.4.2" and "L4H2" as a selection; null where it is no head. */
export function headOf(site: string | null): { layer: number; head: number } | null {
  const found = site && (/^(?:z|q|k|v|pattern|head_out)\.(\d+)\.(\d+)$/.exec(site) ?? /^L(\d+)H(\d+)$/.exec(site));
  return found ? { layer: Number(found[1]), head: Number(found[2]) } : null;
}
