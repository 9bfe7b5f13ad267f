/** Patterns of attention on a canvas; what a query cannot see stays clear. */
import { table } from "./colour";

function fill(canvas: HTMLCanvasElement, side: number, night: boolean, signed: boolean, step: (cell: number) => number): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const image = context.createImageData(side, side);
  const colours = table(night, signed);
  for (let cell = 0; cell < side * side; cell++) {
    if (cell % side > Math.floor(cell / side)) continue;
    const at = step(cell) * 4;
    image.data.set(colours.subarray(at, at + 4), cell * 4);
  }
  context.putImageData(image, 0, 0);
}

/** Bytes of 255 sqrt(share), as colours. */
export function paint(canvas: HTMLCanvasElement, bytes: Uint8Array, side: number, night: boolean): void {
  fill(canvas, side, night, false, (cell) => bytes[cell] ?? 0);
}

const share = (byte: number | undefined): number => ((byte ?? 0) / 255) ** 2;

/** One pattern less another, of bytes each. */
export const less = (one: Uint8Array, other: Uint8Array): Float32Array => Float32Array.from(one, (byte, cell) => share(byte) - share(other[cell]));

/** Numbers between -most and most, by the square root of their size. */
export function paintLess(canvas: HTMLCanvasElement, values: Float32Array, most: number, side: number, night: boolean): void {
  fill(canvas, side, night, true, (cell) => {
    const value = (values[cell] ?? 0) / (most || 1);
    return Math.round(128 + 127 * Math.sign(value) * Math.sqrt(Math.min(1, Math.abs(value))));
  });
}

export const asByte = (share: number): number => Math.round(255 * Math.sqrt(Math.min(1, Math.max(0, share))));
