/** The page's state in its address, so that a link shows the same again, on another machine by computing it again. */
import { effect } from "@preact/signals";
import { corrupted, prompt, select, selection, shown } from "./lab";

export function restore(): boolean {
  const given = new URLSearchParams(location.hash.slice(1));
  const text = given.get("p");
  if (text !== null) prompt.value = text;
  const other = given.get("c");
  if (other !== null) corrupted.value = other;
  const [layer, head, query, key] = (given.get("s") ?? "").split(".").map((part) => (/^\d+$/.test(part) ? Number(part) : null));
  select({ layer: layer ?? null, head: head ?? null, query: query ?? null, key: key ?? null });
  return text !== null;
}

export function link(): string {
  const { layer, head, query, key } = selection.value;
  const state = new URLSearchParams({ p: prompt.value, c: corrupted.value });
  const place = [layer, head, query, key].map((part) => part ?? "").join(".");
  if (place !== "...") state.set("s", place);
  return `${location.href.split("#")[0]}#${state}`;
}

export function follow(): void {
  effect(() => {
    if (shown.value !== null) history.replaceState(null, "", link());
  });
}
