/** All heads as a grid for eyes and keyboard: one canvas beneath, a cell for each head above it. */
import { useComputed } from "@preact/signals";
import { useMemo, useRef, useState } from "preact/hooks";
import { asByte, asSigned, Atlas, ramp } from "../draw/atlas";
import { ink, shade } from "../draw/colour";
import type { Look } from "../draw/gl";
import { number, short } from "../draw/text";
import { hover, NONE, select, selection } from "../state/selection";
import { dark } from "../state/theme";
import { density, Tiles, useWidth } from "./tiles";
import type { Grid } from "./measures";

/** A layer: its pictures, or one byte a head; how many heads; null until it is there. */
export type Row = { bytes: Uint8Array | null; heads: number } | null;
type Props = {
  rows: readonly Row[]; columns: number; side: number; signed: boolean;
  /** Heads that share one key and value head. */
  group: number; hide: boolean; marks: ReadonlyMap<string, number>;
  /** What cells say, where it is a number. */
  grid: Grid | null; maximum: number;
  /** What screen readers are told of a head. */
  told: (layer: number, head: number) => string;
};
export const placeOf = (layer: number, head: number): string => `${layer}.${head}`;
const [LABEL, SPACER, READABLE, PAGE] = [34, 7, 30, 8];

/** Dots of a cell, between cells, and from the left to each head. */
function measured(width: number, columns: number, group: number) {
  const gap = columns > 24 ? 1 : 3;
  const groups = group > 1 && group < columns ? Math.ceil(columns / group) - 1 : 0;
  const room = Math.floor((width - LABEL - groups * SPACER) / Math.max(1, columns)) - gap;
  const size = Math.max(columns > 24 ? 12 : 24, Math.min(56, room));
  const left = (head: number) => head * (size + gap) + (groups ? Math.floor(head / group) * SPACER : 0);
  return { gap, size, left, whole: left(columns - 1) + size };
}

/** The table of bytes, with what came since. */
function useAtlas({ rows, columns, side, signed }: Props): Atlas {
  const atlas = useMemo(() => new Atlas(columns, rows.length, side, signed), [columns, rows.length, side, signed]);
  const put = useRef<{ atlas: Atlas; bytes: (Uint8Array | null)[] }>({ atlas, bytes: [] });
  if (put.current.atlas !== atlas) put.current = { atlas, bytes: [] };
  rows.forEach((row, index) => {
    if (!row?.bytes || put.current.bytes[index] === row.bytes) return;
    atlas.put(index, row.bytes);
    put.current.bytes[index] = row.bytes;
  });
  return atlas;
}

export function HeadGrid(props: Props) {
  const { rows, columns, group, hide, grid } = props;
  const [box, width] = useWidth();
  const atlas = useAtlas(props);
  const [at, setAt] = useState<[number, number]>([0, 0]);
  const night = dark.value;
  const shown = useMemo(() => rows.map((_, layer) => layer).filter((layer) => !hide || rows[layer] === null || rows[layer]!.heads > 0), [rows, hide]);
  const place = useMemo(() => measured(width, columns, group), [width, columns, group]);
  const { size, gap, left, whole } = place;
  const look = useMemo<Look>(() => {
    const dots = density();
    return {
      width: Math.round(whole * dots), height: Math.round(shown.length * (size + gap) * dots), size: Math.round(size * dots), part: [0, 0, props.side], clear: grid ? "none" : "above",
      colours: ramp(night, props.signed, grid ? "share" : "root"),
      tiles: shown.flatMap((layer, line) => (rows[layer]?.bytes ? Array.from({ length: Math.min(columns, rows[layer]!.heads) }, (_, head) =>
        ({ column: head, row: layer, x: Math.round(left(head) * dots), y: Math.round(line * (size + gap) * dots) })) : [])),
    };
  }, [rows, shown, place, props.side, props.signed, night, grid === null]);
  const body = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent) => {
    const target = next(event.key, at, shown.filter((layer) => rows[layer]?.heads !== 0), columns);
    if (!target) return;
    event.preventDefault();
    setAt(target);
    body.current?.querySelector<HTMLElement>(`[data-place="${placeOf(...target)}"]`)?.focus();
  };
  const first = shown.find((layer) => rows[layer]?.heads !== 0) ?? 0;
  const stop: [number, number] = shown.includes(at[0]) && rows[at[0]]?.heads !== 0 ? at : [first, 0];
  const header = columns > 24 ? 8 : columns > 12 ? 4 : 1;
  return (
    <div class="wide" ref={box}>
      {width > 0 && columns > 0 && (
        <div class="heads" style={{ "--size": `${size}px`, "--gap": `${gap}px`, width: `${LABEL + whole}px` }}>
          <div class="names muted" aria-hidden="true">
            {Array.from({ length: columns }, (_, head) => head % header === 0 && <span style={{ left: `${LABEL + left(head)}px` }}>H{head}</span>)}
          </div>
          <div class="stack">
            <Tiles atlas={atlas} look={look} news={rows} aria-hidden="true" style={{ left: `${LABEL}px`, width: `${whole}px`, height: `${shown.length * (size + gap)}px` }} />
            <div ref={body} class="thumbnails" role="grid" aria-label="heads" onKeyDown={move}>
              {shown.map((layer) => <Layer {...props} key={layer} layer={layer} place={place} stop={stop[0] === layer ? stop[1] : null} onStop={setAt} />)}
            </div>
          </div>
        </div>
      )}
    </div>
  );
}

type LayerProps = Props & { layer: number; place: ReturnType<typeof measured>; stop: number | null; onStop: (place: [number, number]) => void };

/** A row; made again only where something of its own changed, since there may be a thousand cells. */
function Layer(props: LayerProps) {
  const { rows, columns, layer, place: { size, left }, stop, onStop, grid, marks, maximum } = props;
  const row = rows[layer];
  return useMemo(() => (
    <div role="row" class="layer">
      <span role="rowheader" class="muted">L{layer}</span>
      {row?.heads === 0 ? <span role="gridcell" class="headless muted">no attention heads here</span>
        : Array.from({ length: row?.heads ?? columns }, (_, head) => (
          <Cell {...props} key={head} head={head} left={LABEL + left(head)} size={size} stop={stop === head} onStop={onStop} />
        ))}
    </div>
  ), [row, columns, props.place, stop, grid?.name, grid?.values[layer], grid?.signed, marks, maximum]);
}

/** The cell that a key goes to; layers without heads are passed over. */
function next(key: string, [layer, head]: [number, number], layers: readonly number[], columns: number): [number, number] | null {
  const line = Math.max(0, layers.indexOf(layer));
  const to: Record<string, [number, number]> = {
    ArrowUp: [line - 1, head], ArrowDown: [line + 1, head], ArrowLeft: [line, head - 1], ArrowRight: [line, head + 1],
    Home: [line, 0], End: [line, columns - 1], PageUp: [line - PAGE, head], PageDown: [line + PAGE, head],
  };
  const target = to[key];
  const within = (value: number, count: number) => Math.min(Math.max(value, 0), count - 1);
  return target && layers.length ? [layers[within(target[0], layers.length)]!, within(target[1], columns)] : null;
}

type CellProps = Omit<LayerProps, "stop"> & { head: number; left: number; size: number; stop: boolean };

function Cell({ layer, head, left, size, stop, onStop, rows, grid, maximum, marks, told }: CellProps) {
  const chosen = useComputed(() => selection.value.layer === layer && selection.value.head === head).value;
  const there = !!rows[layer]?.bytes;
  const value = grid?.values[layer]?.[head] ?? null;
  const rank = marks.get(placeOf(layer, head));
  const said = grid ? `L${layer}H${head}: ${number(value, grid.signed)} ${grid.unit}` : `L${layer}H${head}`;
  return (
    <button role="gridcell" data-place={placeOf(layer, head)} tabIndex={stop ? 0 : -1} class={`thumbnail${there ? " there" : ""}${rank ? " top" : ""}`} aria-selected={chosen}
      aria-label={`${told(layer, head)}${rank ? `, number ${rank} of those marked` : ""}`} aria-disabled={!there} title={said}
      style={{ left: `${left}px`, ...(grid && value !== null && { color: ink(shade(dark.value, value, maximum, grid.signed)) }) }}
      onFocus={() => onStop([layer, head])} onMouseEnter={() => (hover.value = { ...NONE, layer, head })} onMouseLeave={() => (hover.value = NONE)}
      onClick={() => { if (there) select({ layer, head }); }}>
      {grid && size >= READABLE && there && short(value, grid.signed)}
      {rank && size >= 22 && <span class="rank" aria-hidden="true">{rank}</span>}
    </button>
  );
}

/** The bytes of one number a head. */
export function asBytes(values: readonly (number | null)[], maximum: number, signed: boolean): Uint8Array {
  return Uint8Array.from(values, (value) => (signed ? asSigned((value ?? 0) / maximum) : asByte(Math.abs(value ?? 0) / maximum)));
}
