/** Binary messages: u32 length of a JSON header, the header, then buffers that it lists. */
import type { Frame } from "./generated";

export type Parts = Record<string, Uint8Array | Float32Array | Int32Array>;
type Listed = { name: string; dtype: "u1" | "f4" | "i4"; shape: number[]; offset: number };

export function readFrame(message: ArrayBuffer): { header: Frame; parts: Parts; shapes: Record<string, number[]> } {
  const length = new DataView(message).getUint32(0, true);
  const { parts: listed, ...header } = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
  const parts: Parts = {};
  const shapes: Record<string, number[]> = {};
  for (const part of listed as Listed[]) {
    const count = part.shape.reduce((product, side) => product * side, 1);
    const start = 4 + length + part.offset;
    shapes[part.name] = part.shape;
    parts[part.name] =
      part.dtype === "u1" ? new Uint8Array(message, start, count)
      : part.dtype === "f4" ? new Float32Array(message, start, count)
      : new Int32Array(message, start, count);
  }
  return { header: header as Frame, parts, shapes };
}
