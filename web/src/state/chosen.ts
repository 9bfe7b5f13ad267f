/** What is chosen of lists that several panels share. */
import { batch } from "@preact/signals";
import { foil, target } from "./aims";
import { choice } from "./choices";
import { A, analyse, analyseShown, B, other, presets, session, sides } from "./lab";
import { bring, type Past } from "./runs";
import { isWord } from "./words";

/** The analysis of the generic panel. */
export const analysis = choice("any", "explain");

/** Writes a preset's prompts, and its answer and foil where this model has both as tokens, and analyses it. */
export async function choosePreset(id: string): Promise<void> {
  const chosen = presets.value.find((each) => each.id === id);
  if (!chosen) return;
  const { prompt, corrupted, answer, foil: against } = chosen;
  A.prompt.value = prompt;
  B.prompt.value = corrupted;
  const known = !session.saved && await Promise.all([answer, against].map(isWord)).then((both) => both.every(Boolean), () => false);
  if (A.prompt.value !== prompt) return; // something else was chosen meanwhile
  batch(() => { [target.value, foil.value] = known ? [answer, against] : ["", ""]; });
  analyseShown();
}

/** Shows a run of before again; the other model, where one is compared, is asked about its prompt. */
export function back(past: Past): void {
  bring(other.value === null ? sides.value[0]! : A, past);
  if (other.value !== null && sides.value.includes(B)) analyse(B);
}
