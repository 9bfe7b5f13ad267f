import type { Edge, Graph, Node } from "../api/generated";
import { number } from "../draw/text";
import { label, largest, linked } from "./shared";

const [WIDE, TALL, GAP] = [96, 78, 14];

/** Ranks from top to bottom, as in a saved result; edges as wide as they are strong. */
export function GraphView({ view }: { view: Graph }) {
  const ranks = [...new Set(view.nodes.map((node) => node.rank))].sort((a, b) => a - b);
  const rows = ranks.map((rank) => view.nodes.filter((node) => node.rank === rank));
  const width = Math.max(...rows.map((row) => row.length * WIDE)) + 2 * GAP;
  const height = ranks.length * TALL + GAP;
  const places = new Map<string, [number, number]>();
  rows.forEach((row, index) => row.forEach((node, column) => {
    places.set(node.id, [(width - row.length * WIDE) / 2 + (column + 0.5) * WIDE, TALL / 2 + index * TALL]);
  }));
  const most = largest(view.edges.map((edge) => edge.value)) || 1;
  return (
    <div class="wide" tabIndex={0} role="group" aria-label={view.title}>
      <svg class="graph" width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={view.title}>
        {view.edges.map((edge) => <Tie edge={edge} places={places} most={most} unit={view.unit} signed={view.signed} nodes={view.nodes} />)}
        {view.nodes.map((node) => <Spot node={node} place={places.get(node.id)!} />)}
      </svg>
    </div>
  );
}

type TieProps = { edge: Edge; places: Map<string, [number, number]>; most: number; unit: string; signed: boolean; nodes: readonly Node[] };

function Tie({ edge, places, most, unit, signed, nodes }: TieProps) {
  const [[fromX, fromY], [toX, toY]] = [places.get(edge.source)!, places.get(edge.target)!];
  const share = Math.abs(edge.value ?? 0) / most;
  const name = (id: string) => label(nodes.find((node) => node.id === id)!);
  const bend = Math.abs(fromY - toY) > 1.5 * TALL ? (toX === fromX ? 40 : 0) : 0;
  return (
    <path class={`edge ${(edge.value ?? 0) < 0 ? "against" : "toward"}`} stroke-width={0.6 + share * 5} opacity={0.25 + share * 0.65}
      d={`M${fromX} ${fromY + 13}C${fromX + bend} ${(fromY + toY) / 2} ${toX + bend} ${(fromY + toY) / 2} ${toX} ${toY - 13}`}>
      <title>{`${name(edge.source)} → ${name(edge.target)}: ${number(edge.value, signed)} ${unit}`}</title>
    </path>
  );
}

function Spot({ node, place }: { node: Node; place: [number, number] }) {
  const half = Math.max(24, label(node).length * 3.7 + 8);
  return (
    <g class="node" {...linked(node.site)}>
      <rect x={place[0] - half} y={place[1] - 13} width={half * 2} height={26} rx={6} />
      <text x={place[0]} y={place[1] + 4} text-anchor="middle" class={node.token ? "token" : ""}>{label(node)}</text>
      {node.value !== null && <text class="amount" x={place[0]} y={place[1] + 26} text-anchor="middle">{number(node.value)}</text>}
    </g>
  );
}
