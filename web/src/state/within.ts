/** Whether what a link or a file chooses is there: known once the prompt has run. */
import { effect } from "@preact/signals";
import { fault, first, model } from "./lab";
import { begunWith, NONE, selection } from "./selection";

/** Refuses, in a sentence, a place that is beyond what the model and the prompt have; `by`: what chose it. */
export function within(by: string): void {
  const given = JSON.stringify(selection.peek());
  const stop = effect(() => {
    const { shown, layers, tokens } = first.value;
    if (shown.value === null) return;
    queueMicrotask(() => stop());
    const heads = Math.max(0, ...layers.value.map((layer) => layer?.heads?.entropy.length ?? 0));
    const most = { layer: [layers.value.length, model.value?.name], head: [heads, model.value?.name], query: [tokens.value.length, "the prompt"], key: [tokens.value.length, "the prompt"] } as const;
    const chosen = selection.peek();
    const wrong = (Object.keys(most) as (keyof typeof most)[]).find((part) => chosen[part] !== null && chosen[part] >= most[part][0]);
    if (!wrong || JSON.stringify(chosen) !== given) return; // what was chosen since is there
    const [count, owner] = most[wrong];
    fault.value = { error: "selection", message: `${by} chooses ${WORDS[wrong]} ${chosen[wrong]}, and ${owner} has ${count}, from 0 to ${count - 1}`, hint: "So nothing is chosen." };
    begunWith(NONE);
  });
}

const WORDS = { layer: "layer", head: "head", query: "token", key: "token" };
