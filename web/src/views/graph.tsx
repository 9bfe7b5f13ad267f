import type { Edge, Graph, Node } from "../api/generated";
import { number } from "../draw/text";
import { label, largest, linked, Wide } from "./shared";

const [WIDE, TALL, GAP, HALF, PASS] = [104, 82, 14, 13, 76];
/** With more edges than this their numbers would cover each other; all are in the table. */
const NUMBERED = 16;

type Point = [number, number];
type Slot = { id: string; width: number; from: string[] };

/** Ranks from top to bottom, as in a saved result; edges as wide as they are strong, past the boxes between their ends. */
export function GraphView({ view }: { view: Graph }) {
  const { places, routes, width, height } = layout(view);
  const most = largest(view.edges.map((edge) => edge.value)) || 1;
  return (
    <Wide name={view.title}>
      <svg class="graph" width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={view.title}>
        {view.edges.map((edge, index) => <Tie edge={edge} route={routes[index]!} most={most} view={view} />)}
        {view.nodes.map((node) => <Spot node={node} place={places.get(node.id)!} />)}
      </svg>
    </Wide>
  );
}

/** A place for every node, and in each rank that an edge passes one for the edge; each below what leads to it. */
function layout(view: Graph) {
  const ranks = [...new Set(view.nodes.map((node) => node.rank))].sort((a, b) => a - b);
  const row = new Map(view.nodes.map((node) => [node.id, ranks.indexOf(node.rank)]));
  const rows: Slot[][] = ranks.map((rank) => view.nodes.filter((node) => node.rank === rank).map(({ id }) => ({ id, width: WIDE, from: [] })));
  const chains = view.edges.map((edge, index) => {
    const chain = [edge.source];
    for (let at = row.get(edge.source)! + 1; at < row.get(edge.target)!; at++) {
      rows[at]!.push({ id: `${index} in ${at}`, width: PASS, from: [chain[chain.length - 1]!] });
      chain.push(`${index} in ${at}`);
    }
    rows[row.get(edge.target)!]!.find((slot) => slot.id === edge.target)!.from.push(chain[chain.length - 1]!);
    return [...chain, edge.target];
  });
  const whole = (slots: Slot[]) => slots.reduce((sum, slot) => sum + slot.width, 0);
  const width = Math.max(...rows.map(whole)) + 2 * GAP;
  const places = new Map<string, Point>();
  rows.forEach((slots, index) => {
    const wish = ({ from }: Slot) => (from.length ? from.reduce((sum, id) => sum + (places.get(id)?.[0] ?? width / 2), 0) / from.length : width / 2);
    let x = (width - whole(slots)) / 2;
    for (const slot of slots.map((each, order) => ({ each, order })).sort((a, b) => wish(a.each) - wish(b.each) || a.order - b.order).map(({ each }) => each)) {
      places.set(slot.id, [x + slot.width / 2, GAP + HALF + index * TALL]);
      x += slot.width;
    }
  });
  const routes = chains.map((chain) => chain.map((id, index): Point => {
    const [x, y] = places.get(id)!;
    return [x, index === 0 ? y + HALF : index === chain.length - 1 ? y - HALF : y];
  }));
  return { places, routes, width, height: (ranks.length - 1) * TALL + 2 * (GAP + HALF) + GAP };
}

function Tie({ edge, route, most, view }: { edge: Edge; route: Point[]; most: number; view: Graph }) {
  const share = Math.abs(edge.value ?? 0) / most;
  const name = (id: string) => label(view.nodes.find((node) => node.id === id)!);
  const [[x, y], [nextX, nextY]] = [route[0]!, route[1]!];
  const beside: Point = route.length > 2 ? [nextX, nextY + 4] : [(x + nextX) / 2, (y + nextY) / 2 + 4];
  const path = route.slice(1).map(([toX, toY], index) => {
    const [fromX, fromY] = route[index]!;
    return `C${fromX} ${(fromY + toY) / 2} ${toX} ${(fromY + toY) / 2} ${toX} ${toY}`;
  });
  const said = number(edge.value, view.signed);
  return (
    <>
      <path class={`edge ${(edge.value ?? 0) < 0 ? "against" : "toward"}`} stroke-width={0.6 + share * 5} opacity={0.25 + share * 0.65} d={`M${x} ${y}${path.join("")}`}>
        <title>{`${name(edge.source)} → ${name(edge.target)}: ${said} ${view.unit}`}</title>
      </path>
      {edge.value !== null && view.edges.length <= NUMBERED && (
        <text class="amount" x={beside[0]} y={beside[1]} text-anchor="middle">{[edge.label, said].filter(Boolean).join(" ")}</text>
      )}
    </>
  );
}

function Spot({ node, place }: { node: Node; place: Point }) {
  const half = Math.max(24, label(node).length * 3.7 + 8);
  return (
    <g class="node" {...linked(node.site)}>
      <rect x={place[0] - half} y={place[1] - HALF} width={half * 2} height={2 * HALF} rx={6} />
      <text x={place[0]} y={place[1] + 4} text-anchor="middle" class={node.token ? "token" : ""}>{label(node)}</text>
      {node.value !== null && <text class="amount" x={place[0]} y={place[1] + 26} text-anchor="middle">{number(node.value)}</text>}
    </g>
  );
}
