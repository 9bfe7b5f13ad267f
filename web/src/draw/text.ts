/** Text of tokens with its white space made visible, and numbers as people read them. */
const MARKS: Record<string, string> = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };

export function visible(text: string): string {
  const shown = text.replace(/[\n\t\r]/g, (c) => MARKS[c]!).replace(/^ +| +$/g, (run) => "·".repeat(run.length));
  // Controls and bidirectional marks would change how the rest is read.
  return shown.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/g,
    (c) => `<U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}>`) || "‹empty›";
}

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
