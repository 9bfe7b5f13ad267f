/** Small square pictures in one table of bytes, with coarser copies in which each cell is the strongest of the four it covers. */
import { shade } from "./colour";

/** Bytes are 255 √share, or of signed numbers 128 ± 127 √(size / largest): finer where they are small. */
export class Atlas {
  /** Bytes from one picture to the next: a power of two, so that pictures halve without touching. */
  readonly pitch: number;
  readonly levels: Uint8Array[] = [];
  /** Rows of pictures that were put in since somebody asked. */
  private readonly news = new Set<number>();

  constructor(readonly columns: number, readonly rows: number, readonly side: number, readonly signed: boolean) {
    this.pitch = 2 ** Math.ceil(Math.log2(Math.max(1, side)));
    for (let pitch = this.pitch; pitch >= 1; pitch /= 2) this.levels.push(new Uint8Array(columns * rows * pitch * pitch).fill(signed ? 128 : 0));
  }

  /** A row of pictures, one behind the other as they come from the server. */
  put(row: number, bytes: Uint8Array): void {
    const { side, pitch, columns } = this;
    const count = Math.min(columns, Math.floor(bytes.length / side ** 2));
    for (let picture = 0; picture < count; picture++) for (let line = 0; line < side; line++) {
      const from = (picture * side + line) * side;
      this.levels[0]!.set(bytes.subarray(from, from + side), ((row * pitch + line) * columns + picture) * pitch);
    }
    for (let level = 1; level < this.levels.length; level++) this.halve(row, level);
    this.news.add(row);
  }

  takeNews(): number[] {
    const rows = [...this.news];
    this.news.clear();
    return rows;
  }

  /** Bytes of a level from one line to the next. */
  stride(level: number): number { return this.columns * (this.pitch >> level); }

  private halve(row: number, level: number): void {
    const [fine, coarse] = [this.levels[level - 1]!, this.levels[level]!];
    const [width, lines] = [this.stride(level), this.pitch >> level];
    for (let line = row * lines; line < (row + 1) * lines; line++) for (let x = 0; x < width; x++) {
      const at = line * 4 * width + 2 * x;
      const one = this.stronger(fine[at]!, fine[at + 1]!);
      coarse[line * width + x] = this.stronger(one, this.stronger(fine[at + 2 * width]!, fine[at + 2 * width + 1]!));
    }
  }

  stronger(one: number, other: number): number {
    if (!this.signed) return one > other ? one : other;
    return Math.abs(one - 128) >= Math.abs(other - 128) ? one : other;
  }
}

export const asByte = (share: number): number => Math.round(255 * Math.sqrt(Math.min(1, Math.max(0, share))));
export const asSigned = (value: number): number => Math.round(128 + 127 * Math.sign(value) * Math.sqrt(Math.min(1, Math.abs(value))));

const share = (byte: number | undefined): number => ((byte ?? 0) / 255) ** 2;
/** One pattern less another, of bytes each. */
export const less = (one: Uint8Array, other: Uint8Array): Float32Array => Float32Array.from(one, (byte, cell) => share(byte) - share(other[cell]));

/** How colours grow with a number; as people are told. */
export const GROWTH = { root: "square root", share: "share itself", fourth: "fourth root", log: "logarithm, down to 0.0001" } as const;
export type Growth = keyof typeof GROWTH;

/** Of √share, from 0 to 1. */
const GROWN: Record<Growth, (root: number) => number> = {
  share: (root) => root * root, root: (root) => root, fourth: Math.sqrt,
  log: (root) => (root > 0.01 ? 1 + Math.log10(root) / 2 : 0),
};

/** The colour of each of the 256 bytes. */
export function ramp(dark: boolean, signed: boolean, growth: Growth = "root"): Uint8Array {
  const colours = new Uint8Array(256 * 4);
  for (let byte = 0; byte < 256; byte++) {
    const root = signed ? (byte - 128) / 127 : byte / 255;
    colours.set([...shade(dark, Math.sign(root) * GROWN[growth](Math.min(1, Math.abs(root))), 1, signed), 255], byte * 4);
  }
  return colours;
}
