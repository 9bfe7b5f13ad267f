/** What analyses answered, so that looking at a prompt again asks nothing again. */
import type { Shown } from "../api/generated";
import { model } from "./lab";

const MOST = 80;
const kept = new Map<string, Shown>();
/** `of`: the model, where it is not the one that all see. */
const key = (analysis: string, args: object, of: string | undefined): string => JSON.stringify([of ?? model.value?.name, analysis, args]);

export const answered = (analysis: string, args: object, of?: string): Shown | undefined => kept.get(key(analysis, args, of));

export function keep(analysis: string, args: object, answer: Shown, of?: string): void {
  kept.delete(key(analysis, args, of));
  kept.set(key(analysis, args, of), answer);
  if (kept.size > MOST) kept.delete(kept.keys().next().value!);
}
