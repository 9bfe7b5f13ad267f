/** What can be undone: the selection, pins, thresholds, targets; not runs of the model. */
import type { Signal } from "@preact/signals";

type Step = { of: unknown; back: () => void; again: () => void; at: number };

const past: Step[] = [];
const future: Step[] = [];
const TOGETHER = 1000; // milliseconds: what a slider passes on its way is one step

/** Gives a signal another value, which can be undone; `gathered`: quick changes of the same one are one step. */
export function change<T>(of: Signal<T>, next: T, gathered = false): void {
  const before = of.value;
  if (JSON.stringify(before) === JSON.stringify(next)) return;
  of.value = next;
  future.length = 0;
  const [last, now] = [past[past.length - 1], Date.now()];
  const again = () => { of.value = next; };
  if (gathered && last?.of === of && now - last.at < TOGETHER) Object.assign(last, { again, at: now });
  else past.push({ of, back: () => { of.value = before; }, again, at: now });
}

export function undo(): void {
  const last = past.pop();
  if (last) { last.back(); future.push(last); }
}

export function redo(): void {
  const next = future.pop();
  if (next) { next.again(); past.push(next); }
}
