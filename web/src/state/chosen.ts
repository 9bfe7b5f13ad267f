/** What is chosen of lists that several panels share. */
import { keeps } from "./choices";
import { A, B, presets } from "./lab";

/** The analysis of the generic panel. */
export const analysis = keeps("any", "explain");

/** Writes a preset's prompts. */
export function presetOf(id: string): boolean {
  const chosen = presets.value.find((each) => each.id === id);
  if (!chosen) return false;
  A.prompt.value = chosen.prompt;
  B.prompt.value = chosen.corrupted;
  return true;
}
