/** Which tokens of A and B stand for each other where their attention is subtracted. */
import { computed } from "@preact/signals";
import { visible } from "../draw/text";
import { A, B, other, showing } from "../state/lab";
import { counterparts } from "../views/difference";

/** Indices in A and in B; null where nothing is subtracted. */
export const pairs = computed(() => (showing.value === "A−B" ? counterparts(A.tokens.value, B.tokens.value) : null));

/** Whether every token has a counterpart, so that patterns are subtracted whole. */
export const whole = (): boolean => A.tokens.value.length === B.tokens.value.length;

/** Why no attention can be subtracted; null where it can. */
export function unequal(): string | null {
  if (other.value !== null) return "Heads of two models have no counterparts in one another: look at A or B alone. What can be subtracted is below.";
  if (!A.tokens.value.length || !B.tokens.value.length) return "Waiting for both prompts …";
  return pairs.value?.length ? null : "A and B have no token in common: look at A or B alone.";
}

const NAMED = 8;

/** The tokens that only one prompt has; empty where there are none. */
export function leftOut(): string {
  const told = [A, B].flatMap(({ name, tokens }, side) => {
    const kept = new Set(pairs.value?.map((pair) => pair[side]));
    const gone = tokens.value.filter((_, index) => !kept.has(index)).map(visible);
    return gone.length ? [`${gone.slice(0, NAMED).join(" ")}${gone.length > NAMED ? ` and ${gone.length - NAMED} more` : ""} (${name} only)`] : [];
  });
  return told.length ? `Tokens that both prompts have, paired in order. Left out: ${told.join("; ")}.` : "";
}

/** Cells of square pictures, one behind the other, of some rows and columns alone. */
export function cut<Cells extends Uint8Array | Float32Array>(cells: Cells, side: number, kept: readonly number[]): Cells {
  const count = kept.length ** 2;
  const found = cells.slice(0, (cells.length / side ** 2) * count) as Cells;
  for (let at = 0; at < found.length; at++) {
    const [picture, cell] = [Math.floor(at / count), at % count];
    found[at] = cells[(picture * side + kept[Math.floor(cell / kept.length)]!) * side + kept[cell % kept.length]!]!;
  }
  return found;
}

/** One pattern less another: cell by cell, or of the tokens that both have. */
export function minus(one: Float32Array, other: Float32Array, parts: readonly [number, number][] | null): Float32Array {
  const [from, less] = [one, other].map((cells, side) => (parts ? cut(cells, Math.sqrt(cells.length), parts.map((pair) => pair[side]!)) : cells)) as [Float32Array, Float32Array];
  return from.map((share, cell) => share - less[cell]!);
}
