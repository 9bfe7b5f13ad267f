/** What the head map can show of each head: numbers of the live run, and those that other panels found. */
import type { Heads } from "../api/generated";
import { B, first, found, measure, sides, type LiveLayer } from "../state/lab";

export type Grid = { name: string; title: string; unit: string; signed: boolean; values: readonly (readonly (number | null)[] | null)[] };

const LIVE: Record<keyof Heads, { title: string; unit: string }> = {
  value_norm: { title: "what it writes (norm)", unit: "norm of what it writes, mean over tokens" },
  entropy: { title: "how widely it looks (entropy)", unit: "0 = one token, 1 = an even look" },
  concentration: { title: "how sharply it looks (largest share)", unit: "share, mean over tokens" },
};

/** Numbers that are not of the live run, and the panels that find them. */
const FINDS: Record<string, string> = { "what it adds to the answer": "What wrote the answer", "what its patch moves": "Patch sweep" };

/** Why the number that was chosen is not there; null where it is. */
export const missing = (): string | null => (measure.value in FINDS && !(measure.value in found.value) ? `${FINDS[measure.value]} has no answer to what is asked now: see there.` : null);

/** Names and titles of all. */
export const measures = (): [string, string][] =>
  [...Object.entries(LIVE).map(([name, { title }]): [string, string] => [name, title]), ...Object.keys(found.value).map((name): [string, string] => [name, name])];

const minus = (one: number | null, other: number | null): number | null => (one === null || other === null ? null : one - other);

export function grid(name: string): Grid | null {
  const given = found.value[name];
  if (given) return { name, title: name, unit: given.unit, signed: given.signed, values: given.values };
  const live = LIVE[name as keyof Heads];
  if (!live) return null;
  const both = sides.value.length === 2;
  const of = (layer: LiveLayer | null | undefined) => layer?.heads?.[name as keyof Heads] ?? null;
  const values = first.value.layers.value.map((layer, index) => {
    const [one, other] = [of(layer), of(B.layers.value[index])];
    return !both ? one : one && other && one.map((value, head) => minus(value, other[head] ?? null));
  });
  return { name, ...live, signed: both, values };
}

export type Ranked = { layer: number; head: number; value: number };

/** Heads by the size of a number, largest first. */
export function ranked({ values }: Grid): Ranked[] {
  const all = values.flatMap((row, layer) => (row ?? []).flatMap((value, head) => (value === null ? [] : [{ layer, head, value }])));
  return all.sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
}
