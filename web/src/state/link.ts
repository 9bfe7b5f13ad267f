/** The page's state in its address, so that a link shows the same again, on another machine by computing it again. */
import { effect } from "@preact/signals";
import { foil, target } from "./aims";
import { A, B, analyse, measure, model, other, session, show, showing, type Showing } from "./lab";
import { linked, open, shownRun } from "./kept";
import { begunWith, selection } from "./selection";
import { within } from "./within";

const SHOWING: readonly Showing[] = ["A", "B", "A−B"];
/** The model that a link was made with, which may not be the one that is here. */
export let linkedModel: string | null = null;

/** Takes over what the address says, and runs its prompt. */
export function restore(): void {
  const given = new URLSearchParams(location.hash.slice(1));
  const [text, run] = [given.get("p"), given.get("r")];
  if (run !== null) {
    linked.value = text === null;
    void open(run).then(() => linked.value && document.getElementById("kept")?.scrollIntoView()); // its program comes when it is near
  }
  if (text === null) return;
  A.prompt.value = text;
  B.prompt.value = given.get("c") ?? B.prompt.value;
  measure.value = given.get("h") ?? "pattern";
  linkedModel = given.get("m");
  other.value = given.get("o");
  target.value = given.get("t") ?? "";
  foil.value = given.get("f") ?? "";
  const [layer, head, query, key] = (given.get("s") ?? "").split(".").map((part) => (/^\d+$/.test(part) ? Number(part) : null));
  begunWith({ layer: layer ?? null, head: head ?? null, query: query ?? null, key: key ?? null });
  const wanted = SHOWING[Number(given.get("v") ?? 0)] ?? "A";
  analyse(A);
  if (wanted !== "A") show(wanted);
  within("This link");
}

export function link(): string {
  const { layer, head, query, key } = selection.value;
  const state = new URLSearchParams({ p: A.shown.value ?? A.prompt.value, c: B.prompt.value });
  const place = [layer, head, query, key].map((part) => part ?? "").join(".");
  if (place !== "...") state.set("s", place);
  if (showing.value !== "A") state.set("v", String(SHOWING.indexOf(showing.value)));
  if (measure.value !== "pattern") state.set("h", measure.value);
  if (target.value) state.set("t", target.value);
  if (foil.value) state.set("f", foil.value);
  if (model.value) state.set("m", model.value.name);
  if (other.value !== null) state.set("o", other.value);
  if (shownRun.value) state.set("r", shownRun.value.id);
  return `${location.href.split("#")[0]}#${state}`;
}

/** Keeps the address up to date, and follows one that is put in by hand. */
export function follow(): void {
  effect(() => {
    const address = link();
    if (A.shown.value !== null && !session.saved) history.replaceState(null, "", address);
  });
  addEventListener("hashchange", restore);
}
