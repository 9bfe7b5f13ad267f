/** Beside a pattern: bars of what each token receives and how hard each one looks, and the tokens where there is room. */
import { useEffect, useRef } from "preact/hooks";
import { density } from "./tiles";
import { dark } from "../state/theme";

export type Margin = readonly number[];

/** Means over those that see a token; of each that looks the share of largest size, and where it goes. */
export function margins(values: Float32Array, size: number): { received: Margin; looks: Margin; to: number[] } {
  const received = Array<number>(size).fill(0);
  const [looks, to] = [Array<number>(size).fill(0), Array<number>(size).fill(0)];
  for (let q = 0; q < size; q++) for (let k = 0; k <= q; k++) {
    const value = values[q * size + k]!;
    received[k]! += value / (size - k);
    if (Math.abs(value) > Math.abs(looks[q]!)) { looks[q] = value; to[q] = k; }
  }
  return { received, looks, to };
}

type Props = { margin: Margin; part: readonly [start: number, span: number]; length: number; name: string; across?: boolean; onPick: (index: number) => void };
const THICK = 40;

export function Margins({ margin, part: [start, span], length, name, across = false, onPick }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const night = dark.value;
  const dots = Math.round(length * density());
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const style = getComputedStyle(canvas.current!);
    const most = margin.reduce((found, value) => Math.max(found, Math.abs(value)), 0) || 1;
    context.clearRect(0, 0, canvas.current!.width, canvas.current!.height);
    for (let dot = 0; dot < dots; dot++) {
      // Of the tokens that share a dot the largest is drawn.
      const [first, last] = [Math.floor(start + (dot / dots) * span), Math.max(Math.floor(start + (dot / dots) * span), Math.ceil(start + ((dot + 1) / dots) * span) - 1)];
      let value = 0;
      for (let index = first; index <= last; index++) if (Math.abs(margin[index] ?? 0) > Math.abs(value)) value = margin[index]!;
      const size = (Math.abs(value) / most) * THICK;
      context.fillStyle = style.getPropertyValue(value < 0 ? "--against" : "--toward");
      if (across) context.fillRect(dot, THICK - size, 1, size);
      else context.fillRect(0, dot, size, 1);
    }
  }, [margin, start, span, dots, night, across]);
  const pick = (event: MouseEvent) => onPick(Math.max(0, Math.min(margin.length - 1, Math.floor(start + ((across ? event.offsetX : event.offsetY) / length) * span))));
  const style = across ? { width: `${length}px`, height: `${THICK}px` } : { width: `${THICK}px`, height: `${length}px` };
  return <canvas ref={canvas} class={across ? "margin across" : "margin"} role="img" aria-label={`${name}; its numbers are in the table`} title={name}
    width={across ? dots : THICK} height={across ? THICK : dots} style={style} onClick={pick} />;
}

const READABLE = 12;

/** The tokens of rows or columns, where each has room for its letters. */
export function Names({ names, part: [start, span], length, across = false }: { names: readonly string[]; part: readonly [number, number]; length: number; across?: boolean }) {
  const unit = length / span;
  if (unit < READABLE) return null;
  const shown = names.map((text, index) => ({ text, at: (index + 0.5 - start) * unit })).filter(({ at }) => at > 0 && at < length);
  return (
    <div class={across ? "tokens across" : "tokens"} aria-hidden="true" style={across ? { width: `${length}px` } : { height: `${length}px` }}>
      {shown.map(({ text, at }) => <span class="token muted" style={across ? { left: `${at}px` } : { top: `${at}px` }}>{text}</span>)}
    </div>
  );
}
