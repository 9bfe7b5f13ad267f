/** Which tokens a text names, asked of the server. */
import type { Word } from "../api/generated";
import type { Trouble } from "../api/session";

export async function lookUp(text: string): Promise<Word | Trouble> {
  const answer = await fetch("api/word", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ text }) });
  return (await answer.json()) as Word | Trouble;
}

/** Why a text names no token; null where it does. */
export const refusal = (answer: Word | Trouble): Trouble | null => ("error" in answer ? answer : (answer.trouble as Trouble | null));

export const isWord = async (text: string): Promise<boolean> => refusal(await lookUp(text)) === null;
