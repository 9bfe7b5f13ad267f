/** Results of before, in the store that `fluoro runs` reads: listed, shown again, and added to. */
import { batch, signal } from "@preact/signals";
import type { KeptRun, Shown } from "../api/generated";
import type { Trouble } from "../api/session";
import { plainly } from "../draw/text";

/** The newest first; null until they were asked for. */
export const runs = signal<readonly KeptRun[] | null>(null);
export const shownRun = signal<{ id: string; answer: Shown } | null>(null);
export const refused = signal<Trouble | null>(null);
/** Whether a link leads to the run that is shown: the page goes there once it is drawn. */
export const linked = signal(false);

/** Bytes that the server takes. */
const MOST = 1 << 20;
const LETTERS = 12;
/** As much of an id as people are shown. */
export const short = (id: string): string => id.slice(0, LETTERS);

const SILENT: Trouble = { error: "lost", message: "The server does not answer.", hint: "Is fluoro lab still running?" };

async function said<T>(address: string, body?: object): Promise<T> {
  const asked = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(`api/runs${address}`, asked).catch(() => { throw SILENT; });
  const told: unknown = await answer.json().catch(() => { throw SILENT; });
  if (!answer.ok) throw told as Trouble;
  return told as T;
}

/** Asks what is kept. */
export async function list(): Promise<void> {
  try {
    const found = await said<KeptRun[]>("");
    batch(() => { runs.value = found.map((run) => plainly(run) as KeptRun); refused.value = null; });
  } catch (error) { refused.value = error as Trouble; }
}

/** Shows a kept result, by its id or the beginning of one, without computing it. */
export async function open(id: string): Promise<void> {
  try {
    const { result, ...texts } = await said<Shown>(`/${encodeURIComponent(id)}`);
    batch(() => { shownRun.value = { id, answer: { ...(plainly(texts) as Omit<Shown, "result">), result } }; refused.value = null; });
  } catch (error) { batch(() => { shownRun.value = null; refused.value = error as Trouble; }); }
}

/** Adds what a panel shows; says under which id, or why not. */
export async function keep(answer: Shown): Promise<string> {
  if (new Blob([JSON.stringify(answer.result)]).size > MOST) return "not kept: more than 1 MB. Its Python or command keeps it.";
  try {
    const run = await said<KeptRun>("", answer.result);
    if (runs.value) void list();
    return `kept as ${short(run.id)}`;
  } catch (error) {
    const { message, hint } = error as Trouble;
    return `not kept: ${message}. ${hint}`;
  }
}
