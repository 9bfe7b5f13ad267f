/** What is chosen in the panels, by name, so that a saved run brings it back. */
import { signal, type Signal } from "@preact/signals";
import { useState } from "preact/hooks";

const chosen = new Map<string, string>();
const shared = new Map<string, { of: Signal<unknown>; initial: string }>();

/** A choice that several panels share. */
export function choice<T>(name: string, initial: T): Signal<T> {
  const waiting = chosen.get(name); // set before the panel was fetched
  chosen.delete(name);
  const of = signal(waiting === undefined ? initial : like(waiting, initial) as T);
  shared.set(name, { of: of as Signal<unknown>, initial: JSON.stringify(initial) });
  return of;
}

export function choices(): Record<string, string> {
  const made = [...shared].map(([name, { of, initial }]) => ({ name, now: JSON.stringify(of.value), initial }));
  return { ...Object.fromEntries(chosen), ...Object.fromEntries(made.filter(({ now, initial }) => now !== initial).map(({ name, now }) => [name, now])) };
}

export function setChoices(given: Readonly<Record<string, string>>): void {
  chosen.clear();
  for (const [name, value] of Object.entries(given)) if (!shared.has(name)) chosen.set(name, value);
  for (const [name, { of, initial }] of shared) of.value = like(given[name] ?? initial, JSON.parse(initial));
}

/** JSON of the initial value's kind, else that one: a file may say anything. */
function like(text: string, initial: unknown): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === typeof initial && Array.isArray(value) === Array.isArray(initial) ? value : initial;
  } catch { return initial; }
}

/** State of a panel that a saved run keeps; with no name it is kept by nobody. */
export function useChoice(name: string, initial: string): [value: string, choose: (value: string) => void] {
  const [value, setValue] = useState((name && chosen.get(name)) || initial);
  return [value, (next) => {
    if (name) chosen.set(name, next);
    setValue(next);
  }];
}
