/** What ties a widget to others: the selection through Python, the hover within the page. */
import { effect } from "@preact/signals";
import { NONE, hover, placeOf, selection, type Selection } from "../state/selection";

/** The part of an anywidget model that is used. */
export type Host = {
  get(name: string): unknown; set(name: string, value: unknown): void; save_changes(): void;
  on(event: string, heard: () => void): void; off(event: string, heard: () => void): void;
};

const FIELDS = Object.keys(NONE) as (keyof Selection)[];
const same = (one: Selection, other: Selection): boolean => FIELDS.every((name) => one[name] === other[name]);
const known = (given: unknown): Selection => ({ ...NONE, ...(given as Partial<Selection>) });

/** Keeps the selection and the model's the same; what comes back unchanged is not sent again. */
export function tie(model: Host): () => void {
  const pull = () => {
    const next = known(model.get("selection"));
    if (!same(next, selection.value)) selection.value = next;
  };
  pull();
  model.on("change:selection", pull);
  const stop = effect(() => {
    const next = selection.value;
    if (same(next, known(model.get("selection")))) return;
    model.set("selection", placeOf(next));
    model.save_changes();
  });
  return () => { stop(); model.off("change:selection", pull); };
}

const HOVER = "fluoroscope-hover";
type Told = { group: string; place: Selection };

/** Shares the hover with the page's other widgets of the same group: too often, and too short, for a way through Python. */
export function join(group: string): () => void {
  const hear = (event: Event) => {
    const told = (event as CustomEvent<Told>).detail;
    if (told.group === group && !same(told.place, hover.peek())) hover.value = told.place;
  };
  document.addEventListener(HOVER, hear);
  const stop = effect(() => {
    document.dispatchEvent(new CustomEvent<Told>(HOVER, { detail: { group, place: hover.value } }));
  });
  return () => { stop(); document.removeEventListener(HOVER, hear); };
}
