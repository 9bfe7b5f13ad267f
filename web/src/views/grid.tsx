/** Cells of colour: as a table with numbers while they can be read, as a canvas beyond. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { HeadGrid, Heatmap, Mark } from "../api/generated";
import { css, ink, shade, table } from "../draw/colour";
import { number, plain, short, visible } from "../draw/text";
import { counted, headOf } from "../state/selection";
import { dark } from "../state/theme";
import { label, largest, Legend, tied, Wide, type Place } from "./shared";

type Grid = {
  title: string; unit: string; signed: boolean; maximum: number; rows: readonly Mark[]; columns: readonly Mark[];
  values: readonly (readonly (number | null)[])[]; tokens: readonly (readonly string[])[] | null;
  /** What a cell is about: a head, a token, a pair of tokens. */
  place: (row: number, column: number) => Place | null;
  /** What the signs mean, where it is not for and against. */
  note?: string | undefined;
};
const READABLE = 1600;

export function HeatmapView({ view }: { view: Heatmap }) {
  const maximum = view.maximum ?? (largest(view.values.flat()) || 1);
  const ofTokens = view.columns.length === counted.value.length && view.columns.every((mark, index) => mark.token && mark.label === plain(counted.value[index]!));
  const place = (row: number, column: number) => headOf(view.rows[row]?.site ?? view.columns[column]?.site ?? null) ?? (ofTokens ? { query: column } : null);
  return <Cells grid={{ ...view, maximum, place }} />;
}

export function HeadGridView({ view }: { view: HeadGrid }) {
  const mark = (text: string): Mark => ({ label: text, token: false, site: null });
  const maximum = Math.max(largest(view.values.flat()), view.reach ?? 0) || 1;
  const grid = {
    ...view, maximum, tokens: null, rows: view.values.map((_, layer) => mark(`L${layer}`)),
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

/** Arrows move between cells, Enter chooses one; a single tab stop for all of them. */
function Readable({ grid }: { grid: Grid }) {
  const [place, setPlace] = useState<[number, number]>([0, 0]);
  const body = useRef<HTMLTableSectionElement>(null);
  const move = (event: KeyboardEvent) => {
    const steps: Record<string, [number, number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    const target = step ? [place[0] + step[0], place[1] + step[1]]
      : event.key === "Home" ? [place[0], 0] : event.key === "End" ? [place[0], grid.columns.length - 1] : null;
    if (!target) {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        (event.target as HTMLElement).click();
      }
      return;
    }
    event.preventDefault();
    const row = Math.min(Math.max(target[0]!, 0), grid.rows.length - 1);
    const column = Math.min(Math.max(target[1]!, 0), grid.columns.length - 1);
    setPlace([row, column]);
    const cell = body.current?.rows[row]?.cells[column + 1];
    cell?.focus();
  };
  return (
    <Wide name={grid.title}>
      <table class="cells" role="grid" aria-label={grid.title}>
        <thead>
          <tr><td />{grid.columns.map((mark) => <th scope="col" class={mark.token ? "token" : ""}>{label(mark)}</th>)}</tr>
        </thead>
        <tbody ref={body} onKeyDown={move}>
          {grid.values.map((row, i) => (
            <tr>
              <th scope="row" class={grid.rows[i]!.token ? "token" : ""}>{label(grid.rows[i]!)}</th>
              {row.map((value, j) => {
                const colour = shade(dark.value, value ?? 0, grid.maximum, grid.signed);
                return (
                  <td role="gridcell" tabIndex={place[0] === i && place[1] === j ? 0 : -1} onFocus={() => setPlace([i, j])} {...tied(grid.place(i, j))}
                    style={value === null ? {} : { background: css(colour), color: ink(colour) }}
                    title={`${cellName(grid, i, j)}: ${number(value, grid.signed)} ${grid.unit}`}>
                    {grid.tokens && <span class="token">{visible(grid.tokens[i]![j]!)}</span>}
                    {short(value, grid.signed)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
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
