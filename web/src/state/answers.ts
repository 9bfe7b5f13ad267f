/** What analyses answered, so that looking at a prompt again asks nothing again. */
import type { Shown } from "../api/generated";
import { model, session } from "./lab";

const MOST = 80;
const kept = new Map<string, Shown>();
/** What a saved run answers is its own: it may be of other weights, and nobody here computed it. */
const key = (analysis: string, args: object): string => JSON.stringify([session.saved?.name ?? null, model.value?.name, analysis, args]);

export const answered = (analysis: string, args: object): Shown | undefined => kept.get(key(analysis, args));

export function keep(analysis: string, args: object, answer: Shown): void {
  kept.delete(key(analysis, args));
  kept.set(key(analysis, args), answer);
  if (kept.size > MOST) kept.delete(kept.keys().next().value!);
}
