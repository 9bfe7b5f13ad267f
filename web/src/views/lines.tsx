import type { Lines } from "../api/generated";
import { number } from "../draw/text";
import { label } from "./shared";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [560, 230, 56, 12, 12, 34];

export function LinesView({ view }: { view: Lines }) {
  const present = view.series.flatMap((line) => line.values.filter((value): value is number => value !== null));
  const low = Math.min(0, ...present);
  const high = view.maximum ?? Math.max(0, ...present);
  const span = high - low || 1;
  const x = (index: number) => LEFT + (index / Math.max(1, view.x.length - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value: number) => TOP + (1 - (value - low) / span) * (HEIGHT - TOP - BOTTOM);
  const every = Math.ceil(view.x.length / 12);
  return (
    <>
      <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={view.title}>
        {[low, low + span / 2, high].map((value) => (
          <>
            <line class="axis" x1={LEFT} x2={WIDTH - RIGHT} y1={y(value)} y2={y(value)} />
            <text x={LEFT - 6} y={y(value) + 4} text-anchor="end">{number(value)}</text>
          </>
        ))}
        {view.marked !== null && <line class="here" x1={x(view.marked)} x2={x(view.marked)} y1={TOP} y2={HEIGHT - BOTTOM} />}
        {view.x.map((mark, index) => index % every === 0 && <text x={x(index)} y={HEIGHT - 12} text-anchor="middle">{label(mark)}</text>)}
        {view.series.map((line, number_) => (
          <g class={`line${number_ % 6}`}>
            <path d={path(line.values, x, y)} />
            {line.values.map((value, index) => value !== null && (
              <circle cx={x(index)} cy={y(value)} r={3}><title>{`${label(line)}, ${label(view.x[index]!)}: ${number(value)} ${view.unit}`}</title></circle>
            ))}
          </g>
        ))}
      </svg>
      {view.series.length > 1 && (
        <p class="legend">{view.series.map((line, index) => <span class={`key line${index % 6}`}>{label(line)}</span>)}</p>
      )}
    </>
  );
}

function path(values: readonly (number | null)[], x: (index: number) => number, y: (value: number) => number): string {
  let down = false;
  return values.map((value, index) => {
    if (value === null) { down = false; return ""; }
    const command = `${down ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    down = true;
    return command;
  }).join("");
}
