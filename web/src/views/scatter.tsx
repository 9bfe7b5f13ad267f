import type { Scatter } from "../api/generated";
import { label, linked } from "./shared";

const [SIZE, MARGIN] = [420, 30];

export function ScatterView({ view }: { view: Scatter }) {
  const limits = [0, 1].map((axis) => bounds(view, axis));
  const groups: (string | null)[] = [...new Set(view.points.map((point) => point.group))].filter((group) => group !== null);
  const place = (value: number, axis: number) => {
    const [low, high] = limits[axis]!;
    const share = (value - low) / (high - low || 1);
    return MARGIN + (axis === 0 ? share : 1 - share) * (SIZE - 2 * MARGIN);
  };
  const near = view.points.length <= 40;
  return (
    <>
      <svg class="chart square" viewBox={`0 0 ${SIZE} ${SIZE}`} role="img" aria-label={view.title}>
        <rect class="axis" x={MARGIN} y={MARGIN} width={SIZE - 2 * MARGIN} height={SIZE - 2 * MARGIN} fill="none" />
        <text x={SIZE / 2} y={SIZE - 8} text-anchor="middle">{view.axes[0]}</text>
        <text x={12} y={SIZE / 2} text-anchor="middle" transform={`rotate(-90 12 ${SIZE / 2})`}>{view.axes[1]}</text>
        {view.points.map((point) => (
          <g class={`line${Math.max(0, groups.indexOf(point.group)) % 6}`} {...linked(point.site)}>
            <circle cx={place(point.x, 0)} cy={place(point.y, 1)} r={4}><title>{label(point)}</title></circle>
            {near && <text x={place(point.x, 0) + 6} y={place(point.y, 1) + 4}>{label(point)}</text>}
          </g>
        ))}
      </svg>
      {groups.length > 1 && <p class="legend">{groups.map((group, index) => <span class={`key line${index % 6}`}>{group}</span>)}</p>}
    </>
  );
}

function bounds(view: Scatter, axis: number): [number, number] {
  const given = view.limits?.[axis];
  if (given) return [given[0], given[1]];
  const values = view.points.map((point) => (axis === 0 ? point.x : point.y));
  return [Math.min(...values), Math.max(...values)];
}
