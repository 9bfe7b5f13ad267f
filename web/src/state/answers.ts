/** What analyses answered, so that looking at a prompt again asks nothing again. */
import type { Shown } from "../api/generated";
import type { Ask } from "../api/recording";
import { model } from "./lab";

const MOST = 80;
const kept = new Map<string, Shown>();
const key = ({ analysis, arguments: args, model: named }: Ask): string => JSON.stringify([named ?? model.value?.name, analysis, args]);

export const answered = (ask: Ask): Shown | undefined => kept.get(key(ask));

export function keep(ask: Ask, answer: Shown): void {
  kept.delete(key(ask));
  kept.set(key(ask), answer);
  if (kept.size > MOST) kept.delete(kept.keys().next().value!);
}
