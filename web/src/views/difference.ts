/** One picture less another: what both have is subtracted, what only one has is named and left alone. */
import type { Arcs, Bars, Graph, HeadGrid, Heatmap, Lines, Mark, TokenMark, Tokens, View } from "../api/generated";
import { number, visible } from "../draw/text";
import { label, MORE } from "./shared";

type Pair = readonly [number | null, number | null];
type Value = number | null | undefined;

const PARTS = "parts of two models have no counterparts in one another";

/** A picture of the difference, or why there is none; `same`: both are of one model. */
export function difference(one: View, other: View, same: boolean): View | string {
  if (one.kind === "bars" && other.kind === "bars") return bars(one, other, same);
  if (one.kind === "head_grid" && other.kind === "head_grid") return same ? headGrid(one, other) : PARTS;
  if (one.kind === "heatmap" && other.kind === "heatmap") return heatmap(one, other, same);
  if (one.kind === "lines" && other.kind === "lines") return lines(one, other, same);
  if (one.kind === "tokens" && other.kind === "tokens") return tokens(one, other, same);
  if (one.kind === "arcs" && other.kind === "arcs") return arcs(one, other, same);
  if (one.kind === "graph" && other.kind === "graph") return same ? graph(one, other) : PARTS;
  if (one.kind !== other.kind) return "the two are drawn differently";
  return one.kind === "table" ? "a table is read beside the other" : "the axes of each are its own";
}

const minus = (one: Value, other: Value): number | null => (typeof one === "number" && typeof other === "number" ? one - other : null);
const title = (text: string) => `A − B: ${text}`;
const NOTHING = "they have nothing in common";

/** Items in the order of both: equal ones together, by the longest common sequence. */
export function align(one: readonly string[], other: readonly string[]): Pair[] {
  const wide = other.length + 1;
  const longest = new Uint16Array((one.length + 1) * wide);
  for (let i = one.length - 1; i >= 0; i--) for (let j = other.length - 1; j >= 0; j--) {
    longest[i * wide + j] = one[i] === other[j] ? 1 + longest[(i + 1) * wide + j + 1]! : Math.max(longest[(i + 1) * wide + j]!, longest[i * wide + j + 1]!);
  }
  const pairs: Pair[] = [];
  let [i, j] = [0, 0];
  while (i < one.length || j < other.length) {
    if (i < one.length && j < other.length && one[i] === other[j]) pairs.push([i++, j++]);
    else if (j >= other.length || (i < one.length && longest[(i + 1) * wide + j]! >= longest[i * wide + j + 1]!)) pairs.push([i++, null]);
    else pairs.push([null, j++]);
  }
  return pairs;
}

/** Tokens of two prompts that stand for each other: by place where there are as many, else by the longest common sequence. */
export const counterparts = (one: readonly string[], other: readonly string[]): [number, number][] =>
  (one.length === other.length ? byPlace(one.length) : align(one, other)).filter((pair): pair is [number, number] => pair[0] !== null && pair[1] !== null);

const byPlace = (count: number): Pair[] => Array.from({ length: count }, (_, index) => [index, index]);
const isDepth = (marks: readonly Mark[]) => marks.length > 1 && marks.filter((mark) => !mark.token && /^(L|block |layer )?\d+$/.test(mark.label)).length * 2 > marks.length;

/** Which mark of one axis goes with which of the other, and what the pair is called. */
function axis(one: readonly Mark[], other: readonly Mark[], same: boolean): { pairs: Pair[]; marks: Mark[] } {
  const labels = [one, other].map((marks) => marks.map((mark) => mark.label)) as [string[], string[]];
  const equal = labels[0].length === labels[1].length && labels[0].every((label, index) => label === labels[1][index]);
  const depths = !same && isDepth(one) && isDepth(other);
  const positions = same && one.length === other.length && one.every((mark) => mark.token) && other.every((mark) => mark.token);
  const pairs = equal && !depths ? byPlace(one.length)
    : depths ? one.map((_, index): Pair => [index, Math.round((index * (other.length - 1)) / (one.length - 1))])
    : positions ? byPlace(one.length) : align(...labels);
  return { pairs, marks: pairs.map(([i, j]) => named(i === null ? null : one[i]!, j === null ? null : other[j]!)) };
}

/** A mark of both; one that is in one alone says so. */
function named(one: Mark | null, other: Mark | null): Mark {
  if (one && other) return one.label === other.label ? one : { ...one, token: false, label: `${label(one)}/${label(other)}` };
  return { ...(one ?? other!), token: false, label: `${label(one ?? other!)} (${one ? "A" : "B"} only)` };
}

function bars(one: Bars, other: Bars, same: boolean): Bars | string {
  if (!same && [...one.items, ...other.items].some((item) => item.site !== null && !item.token)) return PARTS;
  const rest = new Map(other.items.map((item) => [item.label, item]));
  const items = one.items.map((item) => {
    const second = rest.get(item.label);
    rest.delete(item.label);
    const remark = second ? `A ${number(item.value)}, B ${number(second.value)}` : `A alone: ${number(item.value)}`;
    return { ...item, value: minus(item.value, second?.value), remark };
  });
  for (const item of rest.values()) items.push({ ...item, value: null, remark: `B alone: ${number(item.value)}` });
  if (items.every((item) => item.value === null)) return NOTHING;
  return { ...one, title: title(one.title), caption: `${MORE} What only one of them lists is not subtracted.`, signed: true, items };
}

function headGrid(one: HeadGrid, other: HeadGrid): HeadGrid {
  const values = one.values.map((row, i) => row.map((value, j) => minus(value, other.values[i]?.[j])));
  return { ...one, title: title(one.title), caption: MORE, signed: true, reach: null, values };
}

function heatmap(one: Heatmap, other: Heatmap, same: boolean): Heatmap | string {
  const [rows, columns] = [axis(one.rows, other.rows, same), axis(one.columns, other.columns, same)];
  const texts = rows.pairs.map(([i, k]) => columns.pairs.map(([j, l]) => {
    const [first, second] = [i === null || j === null ? undefined : one.tokens?.[i]?.[j], k === null || l === null ? undefined : other.tokens?.[k]?.[l]];
    return first === second ? first ?? "" : [first, second].map((text) => (text === undefined ? "–" : visible(text))).join("/");
  }));
  const values = rows.pairs.map(([i, k]) => columns.pairs.map(([j, l]) => {
    if (i === null || j === null || k === null || l === null) return null;
    if (one.tokens && one.tokens[i]![j] !== other.tokens?.[k]?.[l]) return null; // shares of two tokens are no difference of one
    return minus(one.values[i]![j], other.values[k]![l]);
  }));
  if (values.every((row) => row.every((value) => value === null)) && !one.tokens) return NOTHING;
  const depth = !same && rows.marks.some((mark) => mark.label.includes("/")) ? " Rows are paired by relative depth, A/B." : "";
  const apart = one.tokens ? " Where the two say different tokens, both are written and nothing is subtracted." : "";
  return { ...one, title: title(one.title), caption: `${MORE}${depth}${apart}`, signed: true, maximum: null, rows: rows.marks, columns: columns.marks, values, tokens: one.tokens ? texts : null };
}

function lines(one: Lines, other: Lines, same: boolean): Lines | string {
  const x = axis(one.x, other.x, same);
  const series = axis(one.series, other.series, true);
  const made = series.pairs.map(([i, k], index) => ({
    ...series.marks[index]!,
    values: x.pairs.map(([j, l]) => (i === null || k === null || j === null || l === null || one.series[i]!.label !== other.series[k]!.label ? null : minus(one.series[i]!.values[j], other.series[k]!.values[l]))),
  })).filter((line) => line.values.some((value) => value !== null));
  if (made.length === 0) return NOTHING;
  return { ...one, title: title(one.title), caption: "Above 0 is more in A.", maximum: null, x: x.marks, series: made, marked: null };
}

const asMarks = (items: readonly TokenMark[]): Mark[] => items.map((item) => ({ label: item.text, token: true, site: null }));

function tokens(one: Tokens, other: Tokens, same: boolean): Tokens {
  const { pairs, marks } = axis(asMarks(one.items), asMarks(other.items), same);
  const items = pairs.map(([i, j], index) => ({ text: marks[index]!.label, id: null, value: i === null || j === null ? null : minus(one.items[i]!.value, other.items[j]!.value) }));
  return { ...one, title: title(one.title), caption: MORE, signed: true, items, marked: null };
}

function arcs(one: Arcs, other: Arcs, same: boolean): Arcs | string {
  const { pairs, marks } = axis(asMarks(one.items), asMarks(other.items), same);
  const [ofOne, ofOther] = [0, 1].map((side) => new Map(pairs.map((pair, index) => [pair[side]!, index]))) as [Map<number, number>, Map<number, number>];
  const key = (from: number | undefined, to: number | undefined) => `${from} ${to}`;
  const second = new Map(other.arcs.map((arc) => [key(ofOther.get(arc.source), ofOther.get(arc.target)), arc.value]));
  const both = one.arcs.flatMap((arc) => {
    const [source, target] = [ofOne.get(arc.source)!, ofOne.get(arc.target)!];
    const value = minus(arc.value, second.get(key(source, target)));
    return value === null ? [] : [{ source, target, value }];
  });
  if (both.length === 0) return NOTHING;
  const caption = `${MORE} The ${both.length} ties that both draw, of ${one.arcs.length} and ${other.arcs.length}.`;
  return { ...one, title: title(one.title), caption, signed: true, items: marks.map((mark) => ({ text: mark.label, id: null, value: null })), arcs: both, marked: null };
}

function graph(one: Graph, other: Graph): Graph {
  const nodes = [...new Map([...other.nodes, ...one.nodes].map((node) => [node.id, { ...node, value: null }])).values()].sort((a, b) => a.rank - b.rank);
  const key = (edge: Graph["edges"][number]) => `${edge.source} ${edge.target} ${edge.label}`;
  const rest = new Map(other.edges.map((edge) => [key(edge), edge]));
  const edges = one.edges.map((edge) => {
    const second = rest.get(key(edge));
    rest.delete(key(edge));
    return { ...edge, value: minus(edge.value, second?.value), label: second ? edge.label : `${edge.label} A only`.trim() };
  });
  for (const edge of rest.values()) edges.push({ ...edge, value: null, label: `${edge.label} B only`.trim() });
  return { ...one, title: title(one.title), caption: `${MORE} An edge that only one of them has is thin and has no number.`, signed: true, nodes, edges };
}

/** Pictures of two answers that show the same: by their titles, else by their places. */
export function together(one: readonly View[], other: readonly View[]): [View, View][] {
  return one.flatMap((view, index): [View, View][] => {
    const second = other.find((each) => each.kind === view.kind && each.title === view.title) ?? (other[index]?.kind === view.kind ? other[index] : undefined);
    return second ? [[view, second]] : [];
  });
}

