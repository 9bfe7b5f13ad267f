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

/** The difference of two patterns, of bytes each, by the square root of its size. */
export function paintLess(canvas: HTMLCanvasElement, one: Uint8Array, other: Uint8Array, side: number, night: boolean): void {
  const share = (byte: number) => (byte / 255) ** 2;
  fill(canvas, side, night, true, (cell) => {
    const less = share(one[cell] ?? 0) - share(other[cell] ?? 0);
    return Math.round(128 + 127 * Math.sign(less) * Math.sqrt(Math.abs(less)));
  });
}

export const asByte = (share: number): number => Math.round(255 * Math.sqrt(Math.min(1, Math.max(0, share))));
