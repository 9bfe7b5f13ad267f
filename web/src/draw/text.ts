/** Text of tokens with its white space made visible, spelled as render/text.py does, and numbers as people read them. */
const MARKS: Record<string, string> = { "\n": "⏎", "\t": "⇥" };
// Controls, bidirectional marks and the like would change how the rest is read, or not be seen.
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

/** Text in which nothing is hidden and nothing turns round what stands beside it. */
export const plain = (text: string): string =>
  text.replace(UNSEEN, (c) => MARKS[c] ?? escaped(c.codePointAt(0)!));

function escaped(code: number): string {
  const [letter, digits] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8] as const;
  return `\\${letter}${code.toString(16).padStart(digits, "0")}`;
}

/** The same of every text in a value. */
export function plainly<T>(value: T): T {
  if (typeof value === "string") return plain(value) as T;
  if (Array.isArray(value)) return (typeof value[0] === "number" ? value : value.map(plainly)) as T;
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plainly(part)])) as T;
}

/** A combining mark at the start gets something to stand on. */
export const visible = (text: string): string => plain(text).replaceAll(" ", "·").replace(/^(?=\p{M})/u, "◌") || "∅";
/** How many of something: 1 token, 2 tokens. */
export const howMany = (count: number, one: string): string => `${count} ${one}${count === 1 ? "" : "s"}`;

export function number(value: number | null, signed = false): string {
  if (value === null) return "–";
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 1e5 || size < 5e-4 ? value.toExponential(1).replace("e+", "e")
    : size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toFixed(3);
  return (signed && value > 0 ? "+" : "") + text.replaceAll("-", "−");
}

/** Three places at most, as in a cell. */
export function short(value: number | null, signed = false): string {
  if (value === null) return "";
  const size = Math.abs(value);
  const text = size >= 10 ? value.toFixed(0) : size >= 1 ? value.toFixed(1) : value.toFixed(2).replace("0.", ".");
  if (size < 0.005) return size === 0 ? "0" : ".00";
  return (signed && value > 0 ? "+" : "") + text.replace("-", "−");
}

export const percent = (share: number): string => (share > 0.9999 ? ">99.9" : (share * 100).toFixed(share < 0.1 ? 2 : 1)) + " %";
