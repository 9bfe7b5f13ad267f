/** Live runs of before, to be looked at again without computing them. */
import { batch, signal } from "@preact/signals";
import type { LiveLayer, Side } from "./lab";
import type { Run } from "../api/session";

export type Past = { prompt: string; tokens: readonly string[]; ids: readonly number[]; layers: readonly (LiveLayer | null)[]; run: Run };

/** The newest first; as many as the server keeps patterns of. */
export const history = signal<readonly Past[]>([]);
const MOST = 8;

export function remember(of: Side): void {
  const { shown, tokens, ids, layers, run } = of;
  if (shown.value === null || run.value === null) return;
  const now = { prompt: shown.value, tokens: tokens.value, ids: ids.value, layers: layers.value, run: run.value };
  history.value = [now, ...history.value.filter((past) => past.prompt !== now.prompt)].slice(0, MOST);
}

/** Puts a run back as it was. */
export function bring(of: Side, past: Past): void {
  if (of.run.value !== past.run) of.run.value?.drop();
  past.run.bring();
  batch(() => {
    of.prompt.value = past.prompt;
    of.tokens.value = past.tokens;
    of.ids.value = past.ids;
    of.layers.value = past.layers;
    of.run.value = past.run;
    of.shown.value = past.prompt;
  });
}
