/** Everything that the page can do, by name: what the palette lists. */
import { analyseShown, catalogue, model, presets, show, sides, switchModel, type Showing } from "./lab";
import { analysis, back, choosePreset } from "./chosen";
import { redo, undo } from "./history";
import { history } from "./runs";
import { clear } from "./selection";
import { dark, theme } from "./theme";

export type Action = { group: string; name: string; told: string; keys?: string; run: () => void };

export const PANELS: readonly { key: string; id: string; name: string }[] = [
  { key: "p", id: "prompt-text", name: "Prompt" }, { key: "h", id: "heads", name: "Heads" }, { key: "a", id: "attention", name: "Attention" }, { key: "i", id: "inspector", name: "Head in numbers" },
  { key: "d", id: "depth", name: "The answer forms" }, { key: "n", id: "next", name: "Prediction" }, { key: "c", id: "circuit", name: "What wrote the answer" }, { key: "l", id: "lens", name: "Logit lens" },
  { key: "f", id: "flow", name: "Token flow" }, { key: "u", id: "neurons", name: "Neurons" }, { key: "s", id: "patch", name: "Patch sweep" }, { key: "t", id: "paths", name: "Path tree" },
  { key: "k", id: "circuits", name: "Circuits" }, { key: "m", id: "neuron-patching", name: "Neurons patched" }, { key: "r", id: "reasoning", name: "Reasoning" }, { key: "v", id: "conversation", name: "Conversation" },
  { key: "w", id: "weights", name: "Weights" }, { key: "o", id: "head-circuits", name: "Heads by their weights" }, { key: "e", id: "any", name: "Every analysis" }, { key: "b", id: "kept", name: "Kept runs" },
];

export function go(id: string): void {
  const target = document.getElementById(id);
  target?.focus();
  target?.scrollIntoView({ block: "nearest" });
}

const press = (id: string) => () => document.getElementById(id)?.click();
const SHOWN: Record<Showing, string> = { A: "prompt A alone", B: "B alone: another prompt, or another model", "A−B": "both, and what differs" };

export function actions(help: () => void): Action[] {
  return [
    { group: "Do", name: "Analyse", told: "run the prompts that are shown", keys: "Enter", run: analyseShown },
    { group: "Do", name: "Cancel", told: "call the live run off", run: () => sides.value.forEach((of) => of.run.value?.cancel()) },
    { group: "Do", name: "Run the patch sweep", told: "every part of one prompt put into the other", run: () => { go("patch"); document.querySelector<HTMLButtonElement>("#patch form button[type=submit]")?.click(); } },
    ...(Object.keys(SHOWN) as Showing[]).map((each) => ({ group: "Compare", name: `Show ${each}`, told: SHOWN[each], keys: "c", run: () => show(each) })),
    { group: "Do", name: "Clear the selection", told: "", keys: "Esc", run: clear },
    { group: "Do", name: "Undo", told: "selection, pins, threshold, target", keys: "z", run: undo },
    { group: "Do", name: "Redo", told: "", keys: "Z", run: redo },
    { group: "Do", name: "Copy link", told: "to what is shown", keys: "l", run: press("copy-link") },
    { group: "Do", name: dark.value ? "Light colours" : "Dark colours", told: "", keys: "d", run: () => (theme.value = dark.value ? "light" : "dark") },
    { group: "Do", name: "Keys", told: "all shortcuts", keys: "?", run: help },
    ...PANELS.map(({ key, id, name }) => ({ group: "Go to", name, told: "panel", keys: `g ${key}`, run: () => go(id) })),
    ...presets.value.map((preset) => ({ group: "Preset", name: preset.title, told: preset.prompt, run: () => void choosePreset(preset.id) })),
    ...history.value.map((past) => ({ group: "Earlier run", name: past.prompt, told: "shown again without computing", run: () => back(past) })),
    ...(model.value?.choices ?? []).filter((name) => name !== model.value?.name).map((name) => ({ group: "Model", name, told: "load it", run: () => void switchModel(name) })),
    ...catalogue.value.map((each) => ({ group: each.theme, name: each.command, told: each.headline, run: () => { analysis.value = each.name; go("any"); } })),
  ];
}

/** How well a text is meant by what was typed: its letters in order, better together and at the beginning of words; null for not at all. */
export function likeness(typed: string, text: string): number | null {
  const [wanted, within] = [typed.toLowerCase().replace(/\s+/g, ""), text.toLowerCase()];
  let [at, score] = [-1, 0];
  for (const letter of wanted) {
    const next = within.indexOf(letter, at + 1);
    if (next < 0) return null;
    score += next === at + 1 ? 3 : /[\s\-_,.]/.test(within[next - 1] ?? " ") ? 2 : 0;
    score -= Math.min(next - at - 1, 8) / 8;
    at = next;
  }
  return score - within.length / 200;
}
