import { useState } from "preact/hooks";
import type { Arcs } from "../api/generated";
import { number, visible } from "../draw/text";
import { hover, select, selection } from "../state/selection";
import { largest } from "./shared";

const [STEP, LETTER, ROW] = [14, 7.2, 22];
const MOST = 60;

/** Tokens in a row, the strongest ties above them; pointing at a token leaves its own. */
export function ArcsView({ view }: { view: Arcs }) {
  const [at, setAt] = useState<number | null>(null);
  const chosen = at ?? hover.value.query ?? selection.value.query;
  const widths = view.items.map((item) => visible(item.text).length * LETTER + STEP);
  const starts = widths.reduce<number[]>((places, width) => [...places, places[places.length - 1]! + width], [0]);
  const middle = (index: number) => starts[index]! + widths[index]! / 2;
  const most = largest(view.arcs.map((arc) => arc.value)) || 1;
  const drawn = [...view.arcs].sort((a, b) => Math.abs(b.value ?? 0) - Math.abs(a.value ?? 0))
    .filter((arc) => chosen === null || chosen >= view.items.length || arc.source === chosen || arc.target === chosen).slice(0, MOST);
  const span = Math.max(1, ...drawn.map((arc) => Math.abs(middle(arc.source) - middle(arc.target))));
  const height = Math.min(190, 30 + span / 2.4);
  const total = starts[starts.length - 1]!;
  return (
    <div class="wide" tabIndex={0} role="group" aria-label={view.title}>
      <svg width={total} height={height + ROW} viewBox={`0 0 ${total} ${height + ROW}`} role="img" aria-label={view.title} class="arcs" style={{ "--whole": `${Math.max(total, total > 1100 ? total : 0)}px` }}>
        {drawn.map((arc) => {
          const [from, to] = [middle(arc.source), middle(arc.target)];
          const rise = Math.min(height - 6, 12 + (Math.abs(to - from) / span) * (height - 18));
          return (
            <path class={(arc.value ?? 0) < 0 ? "against" : "toward"} d={`M${from} ${height}C${from} ${height - rise * 1.3} ${to} ${height - rise * 1.3} ${to} ${height}`}
              stroke-width={0.5 + (Math.abs(arc.value ?? 0) / most) * 5} opacity={0.25 + 0.7 * (Math.abs(arc.value ?? 0) / most)}>
              <title>{`${visible(view.items[arc.source]!.text)} → ${visible(view.items[arc.target]!.text)}: ${number(arc.value, view.signed)} ${view.unit}`}</title>
            </path>
          );
        })}
        {view.items.map((item, index) => (
          <g onMouseEnter={() => setAt(index)} onMouseLeave={() => setAt(null)} onClick={() => select({ query: index })} class="node">
            <rect x={starts[index]!} y={height} width={widths[index]!} height={ROW} class={index === chosen ? "chosen" : ""} />
            <text x={middle(index)} y={height + 15} text-anchor="middle" class={index === view.marked ? "token marked" : "token"}>{visible(item.text)}</text>
          </g>
        ))}
      </svg>
    </div>
  );
}
