/** One head's whole pattern, of any length: zoomed and moved, its peaks kept when many cells share a dot. */
import "./matrix.css";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { asByte, asSigned, Atlas, GROWTH, ramp, type Growth } from "../draw/atlas";
import type { Look } from "../draw/gl";
import { number, percent } from "../draw/text";
import { hover, NONE, select, selection, type Selection } from "../state/selection";
import { dark } from "../state/theme";
import { DataTable, largest, Legend, LESS } from "../views/shared";
import { Margins, margins, Names, type Margin } from "./margins";
import { density, Tiles, useWidth } from "./tiles";

export type Props = {
  name: string; names: readonly string[]; both: boolean;
  /** Which token of the prompt each of them is. */
  places: readonly number[];
  /** All shares, row by row, of those who look; null until they are there. */
  values: Float32Array | null;
  /** What is shown meanwhile. */
  small: { bytes: Uint8Array; side: number } | null;
  /** Rows are the tokens looked at, not those that look. */
  turned: boolean;
  children?: ComponentChildren;
};
export type Part = readonly [left: number, top: number, span: number];

const [LOOKS, RECEIVED] = ["largest look of each token", "mean share that each token receives"];
const [STRIP, MINIMAP, CROWDED, LEAST] = [44, 96, 100, 8];

export function Matrix({ name, names, places, both, values, small, turned, children }: Props) {
  const size = names.length;
  const [growth, setGrowth] = useState<Growth>("root");
  const [even, setEven] = useState(false);
  const [bare, setBare] = useState(false);
  const [table, setTable] = useState(false);
  const [part, setPart] = useState<Part>([0, 0, size]);
  const [box, width] = useWidth();
  const shown = useMemo(() => values && prepared(values, size, even, bare), [values, size, even, bare]);
  const most = useMemo(() => (both && shown ? largest(shown) || 1 : 1), [shown, both]);
  const atlas = useMemo(() => atlasOf(shown, small, size, most, both, turned), [shown, small, most, both, turned]);
  const beside = useMemo(() => values && margins(values, size), [values, size]);
  const [across, down] = turned ? [beside?.looks ?? [], beside?.received ?? []] : [beside?.received ?? [], beside?.looks ?? []];
  useEffect(() => setPart([0, 0, size]), [size]);
  const side = Math.max(120, Math.min(560, width - STRIP));
  const view = useLook(side, atlas, size, part, growth, dark.value, turned);
  const cell = at(places);
  const said = told({ names, places, values, both, turned, ...cell });
  const zoom = (factor: number, middle?: [number, number]) => setPart((old) => zoomed(old, size, factor, middle));
  return (
    <div ref={box} class="matrix">
      <p class="choices">
        {children}
        <label for="growth">Shades by</label>
        <select id="growth" value={growth} onChange={(event) => setGrowth(event.currentTarget.value as Growth)}>
          {Object.entries(GROWTH).map(([key, title]) => <option value={key}>{title}</option>)}
        </select>
        <label><input type="checkbox" checked={even} onChange={(event) => setEven(event.currentTarget.checked)} /> each token by its largest</label>
        <label><input type="checkbox" checked={bare} onChange={(event) => setBare(event.currentTarget.checked)} /> without the first token</label>
        <span class="zoom">
          <button class="quiet" aria-label="zoom in" onClick={() => zoom(0.5)}>+</button><button class="quiet" aria-label="zoom out" onClick={() => zoom(2)}>−</button>
          {part[2] < size && <button class="quiet" onClick={() => setPart([0, 0, size])}>whole</button>}
          <button class="quiet" aria-pressed={table} onClick={() => setTable(!table)}>{table ? "picture" : "table"}</button>
        </span>
      </p>
      {table && beside ? <Twin names={names} places={places} beside={beside} /> : width > 0 && (
        <div class="frame" style={{ "--side": `${side}px`, "--strip": `${STRIP}px` }}>
          <Names names={names} part={[part[0], part[2]]} length={side} across />
          {beside && <Margins margin={across} part={[part[0], part[2]]} length={side} name={turned ? LOOKS : RECEIVED} across onPick={(index) => select(turned ? { query: places[index]! } : { key: places[index]! })} />}
          <Field name={name} places={places} said={said} part={part} size={size} side={side} turned={turned} setPart={setPart} zoom={zoom}>
            <Tiles atlas={atlas} look={view} aria-hidden="true" style={{ width: `${side}px`, height: `${side}px` }} />
            <Cross cell={turned ? { row: cell.k, column: cell.q } : { row: cell.q, column: cell.k }} part={part} side={side} />
          </Field>
          {beside && <Margins margin={down} part={[part[1], part[2]]} length={side} name={turned ? RECEIVED : LOOKS} onPick={(index) => select(turned ? { key: places[index]! } : { query: places[index]! })} />}
          {width > side + STRIP + 60 && <Names names={names} part={[part[1], part[2]]} length={side} />}
          {size >= CROWDED && part[2] < size && <Minimap atlas={atlas} size={size} part={part} growth={growth} turned={turned} setPart={setPart} />}
        </div>
      )}
      <Legend maximum={most} signed={both} unit={`${even ? "share of the row's largest" : "share"}, by its ${GROWTH[growth].replace("share itself", "size")}`} note={LESS} />
      <p class="muted" aria-live="polite">{said}</p>
    </div>
  );
}

/** What is coloured: without the first token, and by each row's largest, where that is wanted. Done here and not while
    drawing, since the strongest of many cells has to be found after it. */
function prepared(values: Float32Array, size: number, even: boolean, bare: boolean): Float32Array {
  if (!even && !bare) return values;
  const shown = values.slice();
  for (let q = 0; q < size; q++) {
    const row = shown.subarray(q * size, q * size + q + 1);
    if (bare) row[0] = 0;
    const most = even ? largest(row) : 0;
    if (most > 0) for (let k = 0; k <= q; k++) row[k]! /= most;
  }
  return shown;
}

function atlasOf(values: Float32Array | null, small: Props["small"], size: number, most: number, both: boolean, turned: boolean): Atlas {
  const side = values ? size : small?.side ?? 1;
  const atlas = new Atlas(1, 1, side, both);
  const code = both ? (value: number) => asSigned(value / most) : asByte;
  const bytes = values ? Uint8Array.from(values, code) : small?.bytes ?? new Uint8Array(1);
  atlas.put(0, turned ? Uint8Array.from(bytes, (_, cell) => bytes[(cell % side) * side + Math.floor(cell / side)]!) : bytes);
  return atlas;
}

function useLook(side: number, atlas: Atlas, size: number, [left, top, span]: Part, growth: Growth, night: boolean, turned: boolean): Look {
  const dots = Math.round(side * density());
  const unit = atlas.side / size; // a small picture stands for more tokens than it has cells
  return useMemo(() => ({
    width: dots, height: dots, size: dots, tiles: [{ column: 0, row: 0, x: 0, y: 0 }], part: [left * unit, top * unit, span * unit],
    colours: ramp(night, atlas.signed, growth), clear: turned ? "below" : "above",
  }), [dots, atlas, size, left, top, span, growth, night, turned]);
}

export function zoomed([left, top, span]: Part, size: number, factor: number, [x, y]: [number, number] = [0.5, 0.5]): Part {
  const next = Math.max(Math.min(LEAST, size), Math.min(size, span * factor));
  return moved([left + (span - next) * x, top + (span - next) * y, next], size);
}

export function moved([left, top, span]: Part, size: number): Part {
  const within = (value: number) => Math.max(0, Math.min(size - span, value));
  return [within(left), within(top), span];
}

/** The cell that is pointed at, else the one that is chosen. */
const at = (places: readonly number[]) => indices(places, hover.value.query !== null || hover.value.key !== null ? hover.value : selection.value);

function indices(places: readonly number[], { query, key }: Selection): { q: number | null; k: number | null } {
  const index = (place: number | null) => (place === null || !places.includes(place) ? null : places.indexOf(place));
  return { q: index(query), k: index(key) };
}

function told({ names, places, values, both, turned, q, k }: { names: readonly string[]; places: readonly number[]; values: Float32Array | null; both: boolean; turned: boolean; q: number | null; k: number | null }): string {
  const size = names.length;
  if (q === null || k === null || names[q] === undefined || names[k] === undefined) return `${size} tokens: point at a cell, or move with the arrows; + and − zoom, X exchanges rows and columns.`;
  const [looks, seen] = [q, k].map((index) => `${names[index]} ${places[index]}`);
  if (k > q) return `${looks} does not see ${seen}, which comes later.`;
  if (!values) return `${looks} and ${seen}: fetching the shares …`;
  const value = both ? number(values[q * size + k]!, true) : percent(values[q * size + k]!);
  return turned ? `${seen} is looked at by ${looks}: ${value}` : `${looks} looks at ${seen}: ${value}`;
}

const STEPS: Record<string, [number, number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
type FieldProps = { name: string; places: readonly number[]; said: string; part: Part; size: number; side: number; turned: boolean; setPart: (part: Part) => void; zoom: (factor: number, middle?: [number, number]) => void; children: ComponentChildren };

/** Where pointer and keys act. */
function Field({ name, places, said, part, size, side, turned, setPart, zoom, children }: FieldProps) {
  const box = useRef<HTMLDivElement>(null);
  const from = useRef<{ x: number; y: number; part: Part; moved: boolean } | null>(null);
  const where = (event: MouseEvent): [number, number] => {
    const corner = box.current!.getBoundingClientRect();
    return [(event.clientX - corner.left) / side, (event.clientY - corner.top) / side];
  };
  const cell = (event: MouseEvent) => {
    const [x, y] = where(event).map((share, axis) => Math.max(0, Math.min(size - 1, Math.floor(part[axis]! + share * part[2])))) as [number, number];
    return turned ? place(x, y) : place(y, x);
  };
  const place = (query: number, key: number) => ({ query: places[query]!, key: places[key]! });
  const show = (row: number, column: number) => {
    const into = (value: number, start: number) => (value < start ? value : value + 1 > start + part[2] ? value + 1 - part[2] : start);
    setPart(moved([into(column, part[0]), into(row, part[1]), part[2]], size));
  };
  const keyed = (event: KeyboardEvent) => {
    const step = STEPS[event.key];
    if (step) {
      const { q, k } = indices(places, selection.value);
      const [row, column] = (turned ? [k, q] : [q, k]).map((index, axis) => Math.max(0, Math.min(size - 1, (index ?? 0) + step[axis]!))) as [number, number];
      select(place(turned ? column : row, Math.min(row, column)));
      show(turned ? Math.min(row, column) : row, turned ? column : Math.min(row, column));
    } else if (event.key === "+" || event.key === "=") zoom(0.5);
    else if (event.key === "-") zoom(2);
    else if (event.key === "0") setPart([0, 0, size]);
    else return;
    event.preventDefault();
  };
  const pointed = (event: PointerEvent) => {
    const start = from.current;
    if (start && event.buttons && part[2] < size) {
      const [right, down] = [event.clientX - start.x, event.clientY - start.y];
      if (start.moved || Math.hypot(right, down) > 4) {
        if (!start.moved) box.current!.setPointerCapture(event.pointerId);
        start.moved = true;
        setPart(moved([start.part[0] - (right / side) * part[2], start.part[1] - (down / side) * part[2], part[2]], size));
        return;
      }
    }
    hover.value = { ...NONE, ...cell(event) };
  };
  return (
    <div ref={box} class="field" role="img" tabIndex={0} aria-label={`pattern of ${name}: ${said}`} onKeyDown={keyed} style={{ touchAction: part[2] < size ? "none" : "pan-y" }}
      onPointerDown={(event) => { from.current = { x: event.clientX, y: event.clientY, part, moved: false }; }} onPointerMove={pointed} onPointerLeave={() => { hover.value = NONE; }}
      onPointerUp={(event) => { if (!from.current?.moved) select(cell(event)); from.current = null; }}
      onDblClick={(event) => zoom(0.5, where(event))}
      onWheel={(event) => { if (event.ctrlKey || event.metaKey) { event.preventDefault(); zoom(event.deltaY > 0 ? 1.25 : 0.8, where(event)); } }}>
      {children}
    </div>
  );
}

/** The row and the column of a cell, and the cell. */
function Cross({ cell: { row, column }, part: [left, top, span], side }: { cell: { row: number | null; column: number | null }; part: Part; side: number }) {
  const unit = side / span;
  const [x, y] = [((column ?? 0) - left) * unit, ((row ?? 0) - top) * unit];
  const wide = `${Math.max(2, unit)}px`;
  return (
    <>
      {row !== null && y >= 0 && y < side && <i class="line" aria-hidden="true" style={{ left: 0, right: 0, top: `${y}px`, height: wide }} />}
      {column !== null && x >= 0 && x < side && <i class="line" aria-hidden="true" style={{ top: 0, bottom: 0, left: `${x}px`, width: wide }} />}
    </>
  );
}

/** The whole, with a frame around what is shown. */
function Minimap({ atlas, size, part, growth, turned, setPart }: { atlas: Atlas; size: number; part: Part; growth: Growth; turned: boolean; setPart: (part: Part) => void }) {
  const view = useLook(MINIMAP, atlas, size, [0, 0, size], growth, dark.value, turned);
  const unit = MINIMAP / size;
  const go = (event: PointerEvent & { currentTarget: HTMLElement }) => {
    if (!event.buttons) return;
    const corner = event.currentTarget.getBoundingClientRect();
    setPart(moved([(event.clientX - corner.left) / unit - part[2] / 2, (event.clientY - corner.top) / unit - part[2] / 2, part[2]], size));
  };
  return (
    <div class="minimap" aria-hidden="true" title="the whole; drag the frame" onPointerDown={go} onPointerMove={go} style={{ width: `${MINIMAP}px`, height: `${MINIMAP}px` }}>
      <Tiles atlas={atlas} look={view} style={{ width: `${MINIMAP}px`, height: `${MINIMAP}px` }} />
      <i style={{ left: `${part[0] * unit}px`, top: `${part[1] * unit}px`, width: `${part[2] * unit}px`, height: `${part[2] * unit}px` }} />
    </div>
  );
}

/** Each token: where it looks most, and how much it receives. */
function Twin({ names, places, beside: { received, looks, to } }: { names: readonly string[]; places: readonly number[]; beside: { received: Margin; looks: Margin; to: number[] } }) {
  return <DataTable name="attention" head={["", "token", "its largest look", "goes to", "mean share it receives"]} rows={names.map((text, index) => [String(places[index]), text, looks[index]!, `${names[to[index]!]} ${places[to[index]!]}`, received[index]!])} />;
}
