/** What is chosen in the panels, by name, so that a saved run brings it back. */
import { useState } from "preact/hooks";

const chosen = new Map<string, string>();

export const choices = (): Record<string, string> => Object.fromEntries(chosen);

export function setChoices(given: Readonly<Record<string, string>>): void {
  chosen.clear();
  for (const [name, value] of Object.entries(given)) chosen.set(name, value);
}

/** State of a panel that a saved run keeps; with no name it is kept by nobody. */
export function useChoice(name: string, initial: string): [value: string, choose: (value: string) => void] {
  const [value, setValue] = useState((name && chosen.get(name)) || initial);
  return [value, (next) => {
    if (name) chosen.set(name, next);
    setValue(next);
  }];
}
