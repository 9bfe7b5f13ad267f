/** Cells of colour: as a table with numbers while they can be read, as a canvas beyond. */
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import type { HeadGrid, Heatmap, Mark } from "../api/generated";
import { css, ink, shade, table } from "../draw/colour";
import { number, plain, short, visible } from "../draw/text";
import { counted, headOf } from "../state/selection";
import { dark } from "../state/theme";
import { Acting, type Acts } from "./acts";
import { MANY, useSpan, WIDE } from "./span";
import { label, largest, Legend, LESS, MORE, SIGNS, tied, Wide, type Place } from "./shared";

type Grid = {
  title: string; unit: string; signed: boolean; maximum: number; rows: readonly Mark[]; columns: readonly Mark[];
  values: readonly (readonly (number | null)[])[]; tokens: readonly (readonly string[])[] | null;
  /** What a cell is about: a head, a token, a pair of tokens. */
  place: (row: number, column: number) => Place | null;
  /** What the signs mean, where it is not for and against. */
  note?: string | undefined;
  /** What stands back: cells below a threshold. */
  faint?: ((row: number, column: number) => boolean) | undefined;
  /** What stands out, and why. */
  marked?: ((row: number, column: number) => string | null) | undefined;
};
const READABLE = 1600;

export function HeatmapView({ view, marked }: { view: Heatmap; marked?: Grid["marked"] }) {
  const maximum = view.maximum ?? (largest(view.values.flat()) || 1);
  const ofTokens = view.columns.length === counted.value.length && view.columns.every((mark, index) => mark.token && mark.label === plain(counted.value[index]!));
  const place = (row: number, column: number) => headOf(view.rows[row]?.site ?? view.columns[column]?.site ?? null) ?? (ofTokens ? { query: column } : null);
  return <Cells grid={{ ...view, maximum, place, marked, note: view.caption.startsWith(MORE) ? LESS : SIGNS }} />;
}

export function HeadGridView({ view, faint }: { view: HeadGrid; faint?: (row: number, column: number) => boolean }) {
  const mark = (text: string): Mark => ({ label: text, token: false, site: null });
  const maximum = Math.max(largest(view.values.flat()), view.reach ?? 0) || 1;
  const grid = {
    ...view, maximum, faint, note: view.caption.startsWith(MORE) ? LESS : undefined, tokens: null, rows: view.values.map((_, layer) => mark(`L${layer}`)),
    columns: (view.values[0] ?? []).map((_, head) => mark(`H${head}`)),
    place: (layer: number, head: number) => ({ layer, head }),
  };
  return <Cells grid={grid} />;
}

export function Cells({ grid }: { grid: Grid }) {
  const dense = grid.tokens === null && grid.rows.length * grid.columns.length > READABLE;
  return (
    <>
      {dense ? <Dense grid={grid} /> : <Readable grid={grid} />}
      <Legend maximum={grid.maximum} signed={grid.signed} unit={grid.unit} note={grid.note} />
    </>
  );
}

/** Arrows move between cells, Enter chooses one; a single tab stop for all of them. Of many columns those near are made. */
function Readable({ grid }: { grid: Grid }) {
  const [place, setPlace] = useState<[number, number]>([0, 0]);
  const [wanted, setWanted] = useState(false);
  const at = useRef(place); // keys may come faster than pictures
  const box = useRef<HTMLDivElement>(null);
  const acts = useContext(Acting);
  const [from, to] = useSpan(grid.columns.length, box);
  const long = grid.columns.length > MANY;
  const cellAt = ([row, column]: [number, number]) => box.current?.querySelector<HTMLElement>(`td[data-cell="${row}.${column}"]`);
  useEffect(() => {
    if (wanted && cellAt(place)) { cellAt(place)!.focus(); setWanted(false); }
  });
  const reach = (next: [number, number]) => { at.current = next; setPlace(next); };
  const go = (row: number, column: number) => {
    const next: [number, number] = [Math.min(Math.max(row, 0), grid.rows.length - 1), Math.min(Math.max(column, 0), grid.columns.length - 1)];
    reach(next);
    const there = cellAt(next);
    if (there) there.focus();
    else setWanted(true);
    if (long && box.current) {
      const [left, width] = [next[1] * WIDE, box.current.clientWidth - WIDE];
      if (left < box.current.scrollLeft || left > box.current.scrollLeft + width - WIDE) box.current.scrollLeft = left - width / 2;
    }
  };
  const move = (event: KeyboardEvent) => {
    const steps: Record<string, [number, number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    const ends: Record<string, number> = { Home: 0, End: grid.columns.length - 1 };
    if (step) go(at.current[0] + step[0], at.current[1] + step[1]);
    else if (event.key in ends) go(at.current[0], ends[event.key]!);
    else if (event.key === "Enter" || event.key === " ") (event.target as HTMLElement).click();
    else if (event.key === "p" && acts?.act) {
      const taken = acts.take(grid.title, ...at.current);
      if (taken !== null) acts.act(taken);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const near = Array.from({ length: to - from }, (_, index) => from + index);
  const [before, behind] = [from * WIDE, (grid.columns.length - to) * WIDE];
  return (
    <div ref={box} class="wide" tabIndex={0} role="group" aria-label={grid.title}>
      <table class={long ? "cells long" : "cells"} role="grid" aria-label={grid.title} aria-colcount={grid.columns.length + 1} aria-rowcount={grid.rows.length + 1}>
        <thead>
          <tr>
            <td />
            {before > 0 && <td style={{ minWidth: `${before}px` }} />}
            {near.map((j) => <th scope="col" class={grid.columns[j]!.token ? "token" : ""}>{label(grid.columns[j]!)}</th>)}
            {behind > 0 && <td style={{ minWidth: `${behind}px` }} />}
          </tr>
        </thead>
        <tbody onKeyDown={move}>
          {grid.values.map((row, i) => (
            <tr>
              <th scope="row" class={grid.rows[i]!.token ? "token" : ""}>{label(grid.rows[i]!)}</th>
              {before > 0 && <td />}
              {near.map((j) => <Cell grid={grid} value={row[j] ?? null} at={[i, j]} stop={place[0] === i && place[1] === j} onReach={() => reach([i, j])} acts={acts} />)}
              {behind > 0 && <td />}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

type CellProps = { grid: Grid; value: number | null; at: [number, number]; stop: boolean; onReach: () => void; acts: Acts | null };

function Cell({ grid, value, at: [i, j], stop, onReach, acts }: CellProps) {
  const colour = shade(dark.value, value ?? 0, grid.maximum, grid.signed);
  const taken = acts?.take(grid.title, i, j) ?? null;
  const faint = grid.faint?.(i, j) ?? false;
  const mark = grid.marked?.(i, j) ?? null;
  return (
    <td role="gridcell" data-cell={`${i}.${j}`} aria-colindex={j + 2} tabIndex={stop ? 0 : -1} {...tied(grid.place(i, j))} onFocus={onReach} class={faint ? "faint" : mark ? "marked" : undefined}
      style={value === null || faint ? {} : { background: css(colour), color: ink(colour) }}
      draggable={taken !== null} onDragStart={(event) => { if (taken !== null) event.dataTransfer?.setData("text/plain", taken); }}
      onDragOver={(event) => { if (acts?.drop) event.preventDefault(); }}
      onDrop={(event) => { if (acts?.drop) { event.preventDefault(); acts.drop(event.dataTransfer?.getData("text/plain") ?? "", i, j); } }}
      title={`${cellName(grid, i, j)}: ${number(value, grid.signed)} ${grid.unit}${mark ? ` (${mark})` : ""}${taken !== null ? ` (${acts!.hint})` : ""}`}>
      {grid.tokens && <span class="token">{visible(grid.tokens[i]![j]!)}</span>}
      {short(value, grid.signed)}
    </td>
  );
}

function cellName(grid: Grid, row: number, column: number): string {
  const place = grid.place(row, column);
  const names = `${label(grid.rows[row]!)}, ${label(grid.columns[column]!)}`;
  return place && place.layer !== undefined && grid.rows[row]!.label === `L${place.layer}` ? `L${place.layer}H${place.head}` : names;
}

function Dense({ grid }: { grid: Grid }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [at, setAt] = useState<[number, number] | null>(null);
  const [rows, columns] = [grid.rows.length, grid.columns.length];
  const colours = table(dark.value, grid.signed);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const image = context.createImageData(columns, rows);
    grid.values.forEach((row, i) => row.forEach((value, j) => {
      if (value === null) return;
      const share = Math.max(-1, Math.min(1, value / grid.maximum));
      const step = grid.signed ? Math.round(128 + share * 127) : Math.round(share * 255);
      image.data.set(colours.subarray(step * 4, step * 4 + 4), (i * columns + j) * 4);
    }));
    context.putImageData(image, 0, 0);
  });
  const side = Math.max(2, Math.min(10, Math.floor(640 / Math.max(rows, columns))));
  const find = (event: MouseEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    setAt(row >= 0 && row < rows && column >= 0 && column < columns ? [row, column] : null);
  };
  const said = at && `${cellName(grid, at[0], at[1])}: ${number(grid.values[at[0]]![at[1]]!, grid.signed)} ${grid.unit}`;
  return (
    <Wide name={grid.title}>
      <canvas ref={canvas} width={columns} height={rows} role="img" aria-label={`${grid.title}: ${rows} rows, ${columns} columns`}
        style={{ width: `${columns * side}px`, height: `${rows * side}px`, imageRendering: "pixelated" }}
        onMouseMove={find} onMouseLeave={() => setAt(null)} />
      <p class="muted" aria-live="polite">{said ?? `${rows} × ${columns} numbers: point at one, or see the table.`}</p>
    </Wide>
  );
}
