/** What analyses answered, so that looking at a prompt again asks nothing again. */
import type { Shown } from "../api/generated";
import { model, session } from "./lab";

const MOST = 80;
const kept = new Map<string, Shown>();
/** `of`: the model, where it is not the one that all see. What a saved run answers is its own: it may be of other weights, and nobody here computed it. */
const key = (analysis: string, args: object, of: string | undefined): string => JSON.stringify([session.saved?.name ?? null, of ?? model.value?.name, analysis, args]);

export const answered = (analysis: string, args: object, of?: string): Shown | undefined => kept.get(key(analysis, args, of));

export function keep(analysis: string, args: object, answer: Shown, of?: string): void {
  kept.delete(key(analysis, args, of));
  kept.set(key(analysis, args, of), answer);
  if (kept.size > MOST) kept.delete(kept.keys().next().value!);
}
