/** Networks: what leads to what, and how much of it. */
import { useMemo, useRef, useState } from "preact/hooks";
import type { Edge, Graph, Node } from "../api/generated";
import { number } from "../draw/text";
import { label, largest, linked, Wide } from "./shared";

const [WIDE, TALL, GAP, HALF, PASS, NARROW] = [104, 82, 14, 13, 76, 14];
/** With more edges than this their numbers would cover each other; all are in the table. */
const NUMBERED = 16;

type Point = [number, number];
type Slot = { id: string; width: number; from: string[] };

/** With more edges than this there is something to prune and to search. */
const MANY = 8;
const ZOOMS = [0.35, 0.5, 0.7, 1, 1.4, 2];

/** A network from top to bottom, with its controls where it is large; places stay where they are when edges are left out. */
export function GraphView({ view }: { view: Graph }) {
  const [least, setLeast] = useState(0);
  const [words, setWords] = useState("");
  const [grouped, setGrouped] = useState(false);
  const [listed, setListed] = useState(false);
  const [scale, setScale] = useState(1);
  const box = useRef<HTMLDivElement>(null);
  const whole = useMemo(() => (grouped ? byLayer(view) : view), [view, grouped]);
  const plan = useMemo(() => layout(whole), [whole]);
  const most = largest(whole.edges.map((edge) => edge.value)) || 1;
  const kept = whole.edges.map((edge) => Math.abs(edge.value ?? 0) >= least * most);
  const strict = kept.some((each) => !each);
  const ends = new Set(whole.edges.flatMap((edge, index) => (kept[index] ? [edge.source, edge.target] : [])));
  const nodes = strict ? whole.nodes.filter((node) => ends.has(node.id)) : whole.nodes;
  const wanted = words.trim().toLowerCase();
  const found = new Set(nodes.filter((node) => wanted !== "" && label(node).toLowerCase().includes(wanted)).map((node) => node.id));
  const faint = (...ids: string[]) => wanted !== "" && !ids.some((id) => found.has(id));
  const zoom = (step: number) => setScale((now) => ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, ZOOMS.findIndex((each) => each >= now - 0.01) + step))]!);
  const fit = () => setScale(Math.min(1, ((box.current?.clientWidth ?? plan.width) - 4) / plan.width));
  const drawing = (
    <Wide name={view.title}>
      <svg class="graph" width={plan.width * scale} height={plan.height * scale} viewBox={`0 0 ${plan.width} ${plan.height}`} role="img" aria-label={view.title}>
        {whole.edges.map((edge, index) => kept[index] && <Tie edge={edge} route={plan.routes[index]!} most={most} view={whole} faint={faint(edge.source, edge.target)} />)}
        {nodes.map((node) => <Spot node={node} place={plan.places.get(node.id)!} faint={faint(node.id)} />)}
      </svg>
    </Wide>
  );
  if (view.edges.length <= MANY) return drawing;
  return (
    <div ref={box} class="network">
      <p class="choices">
        <label>Edges of at least <input type="range" min={0} max={1} step={0.02} value={least} onInput={(event) => setLeast(Number(event.currentTarget.value))}
          aria-valuetext={`${number(least * most)} ${view.unit}`} /></label>
        <span class="muted" role="status">{number(least * most)} {view.unit}: {kept.filter(Boolean).length} of {whole.edges.length} edges{wanted && `, ${found.size} of ${nodes.length} nodes found`}</span>
        <label>Find <input type="search" value={words} placeholder="L4H2, MLP" onInput={(event) => setWords(event.currentTarget.value)} /></label>
        <label><input type="checkbox" checked={grouped} onChange={() => setGrouped(!grouped)} /> one node a layer</label>
        <span role="group" aria-label="Size">
          <button class="quiet" aria-label="smaller" onClick={() => zoom(-1)}>−</button>
          <button class="quiet" aria-label="larger" onClick={() => zoom(1)}>+</button>
          <button class="quiet" onClick={fit}>fit</button>
        </span>
        <button class="quiet" aria-pressed={listed} onClick={() => setListed(!listed)}>list</button>
      </p>
      {listed ? <EdgeList view={whole} edges={whole.edges.filter((edge, index) => kept[index] && !faint(edge.source, edge.target))} /> : drawing}
    </div>
  );
}

/** The edges, the largest first; a sender and a reader that are heads can be chosen. */
function EdgeList({ view, edges }: { view: Graph; edges: readonly Edge[] }) {
  const node = new Map(view.nodes.map((each) => [each.id, each]));
  const end = (id: string) => {
    const { onClick, ...rest } = linked(node.get(id)!.site) as { onClick?: () => void };
    return onClick ? <button class="quiet" {...rest} onClick={onClick}>{label(node.get(id)!)}</button> : <span>{label(node.get(id)!)}</span>;
  };
  return (
    <ol class="edges">
      {[...edges].sort((a, b) => Math.abs(b.value ?? 0) - Math.abs(a.value ?? 0)).map((edge) => (
        <li>{end(edge.source)} → {end(edge.target)} <span class="number">{[edge.label, number(edge.value, view.signed)].filter(Boolean).join(" ")}</span></li>
      ))}
    </ol>
  );
}

/** Nodes of one rank and kind as one; of several edges between two of them the largest stays. */
function byLayer(view: Graph): Graph {
  const group = new Map<string, Node[]>();
  const home = new Map(view.nodes.map((node) => [node.id, `${node.rank} ${node.group}`]));
  for (const node of view.nodes) group.set(home.get(node.id)!, [...(group.get(home.get(node.id)!) ?? []), node]);
  const nodes = [...group].map(([id, all]): Node => {
    const [one] = all as [Node];
    const layer = /^L\d+(?=H)/.exec(one.label)?.[0];
    return all.length === 1 ? { ...one, id } : { ...one, id, site: null, token: false, value: null, label: layer ? `${layer}, ${all.length} heads` : `${all.length} × ${one.group || "nodes"}` };
  });
  const edges = new Map<string, Edge>();
  for (const edge of view.edges) {
    const [source, target] = [home.get(edge.source)!, home.get(edge.target)!];
    const old = edges.get(`${source} ${target}`);
    if (!old || Math.abs(old.value ?? 0) < Math.abs(edge.value ?? 0)) edges.set(`${source} ${target}`, { ...edge, source, target });
  }
  return { ...view, nodes, edges: [...edges.values()] };
}

/** A place for every node, and in each rank that an edge passes one for the edge; each below what leads to it. */
function layout(view: Graph) {
  const ranks = [...new Set(view.nodes.map((node) => node.rank))].sort((a, b) => a - b);
  const row = new Map(view.nodes.map((node) => [node.id, ranks.indexOf(node.rank)]));
  const rows: Slot[][] = ranks.map((rank) => view.nodes.filter((node) => node.rank === rank).map(({ id }) => ({ id, width: WIDE, from: [] })));
  const chains = view.edges.map((edge, index) => {
    const chain = [edge.source];
    for (let at = row.get(edge.source)! + 1; at < row.get(edge.target)!; at++) {
      rows[at]!.push({ id: `${index} in ${at}`, width: view.edges.length > NUMBERED ? NARROW : PASS, from: [chain[chain.length - 1]!] });
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

function Tie({ edge, route, most, view, faint }: { edge: Edge; route: Point[]; most: number; view: Graph; faint: boolean }) {
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
      <path class={`edge ${(edge.value ?? 0) < 0 ? "against" : "toward"}`} stroke-width={0.6 + share * 5} opacity={faint ? 0.08 : 0.35 + share * 0.6} d={`M${x} ${y}${path.join("")}`}>
        <title>{`${name(edge.source)} → ${name(edge.target)}: ${said} ${view.unit}`}</title>
      </path>
      {!faint && edge.value !== null && view.edges.length <= NUMBERED && (
        <text class="amount" x={beside[0]} y={beside[1]} text-anchor="middle">{[edge.label, said].filter(Boolean).join(" ")}</text>
      )}
    </>
  );
}

function Spot({ node, place, faint }: { node: Node; place: Point; faint: boolean }) {
  const half = Math.max(24, label(node).length * 3.7 + 8);
  return (
    <g class="node" opacity={faint ? 0.3 : 1} {...linked(node.site)}>
      <rect x={place[0] - half} y={place[1] - HALF} width={half * 2} height={2 * HALF} rx={6} />
      <text x={place[0]} y={place[1] + 4} text-anchor="middle" class={node.token ? "token" : ""}>{label(node)}</text>
      {node.value !== null && <text class="amount" x={place[0]} y={place[1] + 26} text-anchor="middle">{number(node.value)}</text>}
    </g>
  );
}
