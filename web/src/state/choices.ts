/** What is chosen in the panels, by name, so that a saved run brings it back. */
import { batch, signal, type Signal } from "@preact/signals";
import { useState } from "preact/hooks";

const chosen = new Map<string, string>();
const shared = new Map<string, { of: Signal<unknown>; initial: unknown }>();

/** A signal that a saved run keeps, as JSON. */
export function keeps<T>(name: string, initial: T): Signal<T> {
  const of = signal(initial);
  shared.set(name, { of: of as Signal<unknown>, initial });
  return of;
}

export const choices = (): Record<string, string> =>
  Object.fromEntries([...chosen, ...[...shared].map(([name, { of }]) => [name, JSON.stringify(of.peek())] as const)]);

export function setChoices(given: Readonly<Record<string, string>>): void {
  chosen.clear();
  batch(() => {
    for (const { of, initial } of shared.values()) of.value = initial;
    for (const [name, value] of Object.entries(given)) {
      const known = shared.get(name);
      if (known) known.of.value = like(value, known.initial);
      else chosen.set(name, value);
    }
  });
}

/** JSON of the initial value's kind, else that one. */
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
