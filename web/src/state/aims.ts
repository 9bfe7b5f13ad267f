/** What the page's questions are about: the token to follow, the one it is held against, what else is watched. */
import { choice } from "./choices";
import { change } from "./history";

/** As a parameter names them: " Mary", "#338", " Mary| Anna"; empty for what the model itself would say. */
export const target = choice("target", "");
export const foil = choice("foil", "");

/** Arguments that carry them, under the names that an analysis has. */
export const aimed = (names: { target: string; foil?: string }): Record<string, string> => ({
  ...(target.value && { [names.target]: target.value }),
  ...(names.foil && foil.value && { [names.foil]: foil.value }),
});

export type Pin = { id: number; label: string };
export const pins = choice<readonly Pin[]>("pins", []);
export const MOST_PINS = 6; // as many colours as lines have

export const pinned = (id: number): boolean => pins.value.some((pin) => pin.id === id);

export function pin(one: Pin): void {
  if (!pinned(one.id)) change(pins, [...pins.value, one].slice(-MOST_PINS));
}

export const unpin = (id: number): void => change(pins, pins.value.filter((each) => each.id !== id));

/** Percent of the whole effect that the rows of the circuit make up. */
export const threshold = choice("threshold", 95);
