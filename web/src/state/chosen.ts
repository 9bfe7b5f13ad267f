/** What is chosen of lists that several panels share. */
import { choice } from "./choices";
import { A, analyse, B, other, presets, sides } from "./lab";
import { bring, type Past } from "./runs";

/** The analysis of the generic panel. */
export const analysis = choice("any", "explain");

/** Writes a preset's prompts. */
export function presetOf(id: string): boolean {
  const chosen = presets.value.find((each) => each.id === id);
  if (!chosen) return false;
  A.prompt.value = chosen.prompt;
  B.prompt.value = chosen.corrupted;
  return true;
}

/** Shows a run of before again; the other model, where one is compared, is asked about its prompt. */
export function back(past: Past): void {
  bring(other.value === null ? sides.value[0]! : A, past);
  if (other.value !== null && sides.value.includes(B)) analyse(B);
}
