/** What the server said to the questions whose answers the page shows, so that a file can say the same again. */
import type { FromServer } from "./generated";

export type Ask = { type: "live" | "run" | "need" | "model"; [key: string]: unknown };
/** A question and all that was said to it, word for word. */
export type Kept = { ask: Ask; texts: FromServer[]; frames: ArrayBuffer[] };

const WORDS: ReadonlySet<FromServer["type"]> = new Set(["tokens", "result", "done"]);
/** Bytes of single patterns that are kept beside the live runs; those asked first go first. */
const MOST = 32 << 20;

export class Recording {
  private readonly kept = new Map<string, Kept>();
  /** Live runs by the text of their question, since patterns are asked of a run. */
  private readonly lives = new Map<string, string>();

  begin(run: string, ask: Ask): Kept {
    if (ask.type === "live") this.lives.set(run, this.name(ask));
    const kept: Kept = { ask: this.bare(ask), texts: [], frames: [] };
    if (ask.type !== "model") this.kept.set(run, kept);
    return kept;
  }

  again(run: string, kept: Kept): void { this.kept.set(run, kept); }

  text(run: string, text: FromServer): void {
    if (WORDS.has(text.type)) this.kept.get(run)?.texts.push(text);
    else if (text.type === "error" || text.type === "cancelled") this.forget(run);
  }

  frame(run: string, frame: ArrayBuffer): void {
    const one = this.kept.get(run);
    one?.frames.push(frame);
    if (one?.ask.type === "need") this.lighten(run);
  }

  /** The page no longer shows what was said to this question. */
  forget(run: string): void {
    const live = this.lives.get(run);
    this.kept.delete(run);
    if (live === undefined || this.find(live)) return;
    for (const [other, { ask }] of this.kept) if (ask.of === live) this.kept.delete(other);
  }

  clear(): void { this.kept.clear(); }

  /** Every question that was answered to the end, each once. */
  whole(): Kept[] {
    const over = [...this.kept.values()].filter(({ ask, texts, frames }) => (ask.type === "need" ? frames.length > 0 : texts.some(({ type }) => type !== "tokens")));
    return [...new Map(over.map((kept) => [this.name(kept.ask), kept])).values()];
  }

  /** A question as a text that is the same whenever the same is asked. */
  name(ask: Ask): string {
    return JSON.stringify(this.bare(ask), (_, part: unknown) =>
      part !== null && typeof part === "object" && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part);
  }

  /** A question without what only this page calls so. */
  private bare({ beside: _, ...ask }: Ask): Ask {
    return ask.type === "need" ? { ...ask, of: this.lives.get(String(ask.of)) ?? ask.of } : ask as Ask;
  }

  private find(name: string): boolean {
    return [...this.kept.values()].some(({ ask }) => this.name(ask) === name);
  }

  private lighten(newest: string): void {
    const weight = ({ frames }: Kept) => frames.reduce((sum, frame) => sum + frame.byteLength, 0);
    const needs = [...this.kept].filter(([, { ask }]) => ask.type === "need");
    let size = needs.reduce((sum, [, kept]) => sum + weight(kept), 0);
    for (const [run, kept] of needs) {
      if (size <= MOST || run === newest) return;
      size -= weight(kept);
      this.kept.delete(run);
    }
  }
}
