/** Steps in a row, as wide as they are long: bars for what each is worth, arcs for what later ones take from earlier ones. */
import { useState } from "preact/hooks";
import { number } from "../draw/text";
import { DataTable, largest, Wide } from "./shared";

export type Tie = { source: number; target: number; value: number };
type Props = {
  title: string; unit: string; tieUnit: string; chosen: number | null; onChoose: (index: number) => void;
  steps: readonly { text: string; tokens: number; value: number | null }[]; ties: readonly Tie[];
};

const [WIDE, TOKEN, LEAST, GAP, ARCS, BARS, TEXT] = [960, 12, 76, 6, 96, 64, 20];
/** Arcs below this share of the largest would only fill the picture. */
const FAINT = 0.05;

export function Timeline({ title, unit, tieUnit, steps, ties, chosen, onChoose }: Props) {
  const [twin, setTwin] = useState(false);
  const each = Math.max(TOKEN, (WIDE - GAP * steps.length) / steps.reduce((sum, step) => sum + step.tokens, 0));
  const widths = steps.map((step) => Math.max(LEAST, step.tokens * each));
  const starts = widths.reduce<number[]>((places, width) => [...places, places[places.length - 1]! + width + GAP], [0]);
  const middle = (index: number) => starts[index]! + widths[index]! / 2;
  const most = largest(steps.map((step) => step.value)) || 1;
  const below = steps.some((step) => (step.value ?? 0) < -0.02 * most);
  const strongest = largest(ties.map((tie) => tie.value)) || 1;
  const total = starts[starts.length - 1]!;
  const line = ARCS + TEXT + BARS;
  const height = line + (below ? BARS : 4) + 4;
  const drawn = ties.filter((tie) => tie.value >= FAINT * strongest);
  return (
    <figure>
      <figcaption>
        <b>{title}</b><span class="muted"> · bars: {unit}; arcs: {tieUnit}, {number(strongest)} the widest</span>
        <button class="quiet" aria-label={`${title}: ${twin ? "picture" : "table"}`} onClick={() => setTwin(!twin)}>{twin ? "picture" : "table"}</button>
        <span class="muted caption">Bars upwards are for the answer, downwards against it. An arc leads from a step to a later one that takes something from it.</span>
      </figcaption>
      {twin ? (
        <>
          <DataTable name={`${title}: bars`} head={["step", "text", unit]} rows={steps.map((step, index) => [String(index + 1), step.text, step.value])} />
          <DataTable name={`${title}: arcs`} head={["from step", "to step", tieUnit]} rows={ties.map((tie) => [String(tie.source + 1), String(tie.target + 1), tie.value])} />
        </>
      ) : (
        <Wide name={title}>
          <svg class="timeline" width={total} height={height} viewBox={`0 0 ${total} ${height}`} role="img" aria-label={title}>
            {drawn.map((tie) => {
              const [from, to, share] = [middle(tie.source), middle(tie.target), tie.value / strongest];
              const rise = Math.min(ARCS - 8, 18 + Math.abs(to - from) / 5);
              const bright = chosen === null || tie.source === chosen || tie.target === chosen;
              return (
                <path class="arc" d={`M${from} ${ARCS}C${from} ${ARCS - rise * 1.3} ${to} ${ARCS - rise * 1.3} ${to} ${ARCS}`} stroke-width={0.6 + share * 5} opacity={bright ? 0.25 + share * 0.7 : 0.07}>
                  <title>{`step ${tie.source + 1} → step ${tie.target + 1}: ${number(tie.value)} ${tieUnit}`}</title>
                </path>
              );
            })}
            <line class="axis" x1={0} x2={total} y1={line} y2={line} />
            {steps.map((step, index) => {
              const size = (Math.abs(step.value ?? 0) / most) * (BARS - 8);
              const against = (step.value ?? 0) < 0;
              return (
                <g class="step" data-chosen={chosen === index ? "" : undefined} onClick={() => onChoose(index)}>
                  <title>{`${step.text}: ${number(step.value, true)} ${unit}`}</title>
                  <rect class="name" x={starts[index]!} y={ARCS + 1} width={widths[index]!} height={TEXT - 2} rx={4} />
                  <text x={middle(index)} y={ARCS + 14} text-anchor="middle">{fitted(`${index + 1} ${step.text}`, widths[index]!)}</text>
                  <rect class={against ? "against" : "toward"} x={starts[index]! + 2} y={against ? line : line - size} width={widths[index]! - 4} height={Math.max(step.value ? 1.5 : 0, size)} />
                </g>
              );
            })}
          </svg>
        </Wide>
      )}
    </figure>
  );
}

/** As much of a text as a width has room for. */
function fitted(text: string, width: number): string {
  const room = Math.floor((width - 8) / 6.7);
  return text.length <= room ? text : `${text.slice(0, Math.max(1, room - 1)).trimEnd()}…`;
}
