/** What panels of the live run give to take along: the Python that makes what they show, and its numbers. */
import { plain } from "../draw/text";
import { first, found, model, modelOf, session, sides, textOf, type Side } from "../state/lab";
import type { Own } from "./frame";
import { grid } from "./measures";
import { minus, pairs, whole } from "./paired";

const LIVE = ["value_norm", "entropy", "concentration"];
/** Bytes of patterns that are written as JSON. */
const MOST = 4 << 20;

/** A text as Python reads it, in which all can be seen. */
const literal = (text: string): string => plain(JSON.stringify(text));
const prompt = (of: Side): string => of.shown.value ?? textOf(of);
const both = (): boolean => sides.value.length === 2;
/** The name of a side's model in the lines below. */
const name = (of: Side): string => (modelOf(of).model ? "other" : "model");

/** The lines before what is asked: imports and models. */
function begun(...imports: string[]): string[] {
  const { name: own, about } = model.value!;
  const dtype = /^(b?float(16|32|64))$/.test(String(about.dtype)) ? `, dtype="${String(about.dtype)}"` : "";
  const loads = new Set(sides.value.map((of) => `${name(of)} = fluoroscope.load(${literal(modelOf(of).model ?? own)}${dtype})`));
  return ["import fluoroscope", ...imports, "", ...loads];
}

/** Of one side `result`, of both `a` and `b`. */
const asked = (call: (model: string, prompt: string) => string): string[] =>
  sides.value.map((of) => `${both() ? of.name.toLowerCase() : "result"} = ${call(name(of), literal(prompt(of)))}`);

const about = () => ({ models: sides.value.map((of) => modelOf(of).model ?? model.value!.name), prompts: sides.value.map(prompt), tokens: sides.value.map((of) => of.tokens.value) });

/** The lines that make patterns: of one side, or what they are less those of the other. */
function patterns(sites: string, site: string, made: (pattern: string) => string): string {
  const kept = both() && !whole() ? pairs.value! : null;
  const tokens = kept ? [0, 1].map((side) => `kept_${"ab"[side]} = [${kept.map((pair) => pair[side]).join(", ")}]  # tokens that both have`) : [];
  const pattern = (trace: string) => `${trace}[${site}][0]${kept ? `[..., kept_${trace}, :][..., kept_${trace}]` : ""}`;
  const line = made(both() ? `${pattern("a")} - ${pattern("b")}` : pattern("result"));
  return [...begun(), ...asked((model, text) => `${model}.trace(${text}, sites=[${sites}], logits=False)`), ...tokens, line].join("\n");
}

export function heads(names: readonly string[]): Own {
  const live = names.filter((each) => LIVE.includes(each));
  const blocks = [
    ...(names.includes("pattern") ? [patterns('"pattern.*"', "site", (pattern) => `patterns = {site.layer: ${pattern} for site in ${both() ? "a" : "result"}.sites}  # layer: [head, query, key]`)] : []),
    ...(live.length ? [roles(live)] : []),
    ...names.flatMap((each) => (each in found.value ? [ofPanel(found.value[each]!.scripts)] : [])),
  ];
  return {
    script: blocks.join("\n\n"),
    numbers: async () => ({ ...about(), ...(names.includes("pattern") ? { patterns: await everyPattern() } : { heads: Object.fromEntries(names.map((each) => [each, measured(each)])) }) }),
  };
}

function measured(each: string): object | null {
  const found = grid(each);
  return found && { title: found.title, unit: found.unit, values: found.values };
}

function roles(live: readonly string[]): string {
  const lines = live.map((each) => (both() ? `${each} = {one.site: one.${each} - two.${each} for one, two in zip(a.heads, b.heads)}` : `${each} = {head.site: head.${each} for head in result.heads}`));
  return [...begun("from fluoroscope.analyses.head_roles import head_roles"), ...asked((model, text) => `head_roles(${model}, prompt=${text}, seeds=0)`), ...lines].join("\n");
}

/** What another panel found: its own lines, and the picture of the result that has a number for each head. */
function ofPanel([one = "", two]: readonly string[]): string {
  const values = (result: string) => `next(view for view in ${result}.views() if view.kind == "head_grid").values`;
  if (two === undefined) return `${one}\nvalues = ${values("result")}  # [layer][head]`;
  const second = two.slice(two.indexOf("\nresult = ") + 1);
  return [one.replace("\nresult = ", "\na = "), second.replace("result = ", "b = "), `grids = ${values("a")}, ${values("b")}`, "values = [[one - two for one, two in zip(*rows)] for rows in zip(*grids)]  # [layer][head]"].join("\n");
}

export function attention(layer: number, head: number, values: Float32Array, names: readonly string[]): Own {
  const site = `"pattern.${layer}.${head}"`;
  return {
    script: patterns(site, site, (pattern) => `pattern = ${pattern}  # [query, key]`),
    numbers: () => Promise.resolve({ ...about(), site: `pattern.${layer}.${head}`, names, pattern: rows(values, names.length) }),
  };
}

export function depth(): Own {
  const says = (result: string) => `{depth.site: [(token.piece, token.probability) for token in depth.cells[0].top] for depth in ${result}.depths[1:]}`;
  return {
    script: [
      ...begun("from fluoroscope.analyses.logit_lens import logit_lens"), ...asked((model, text) => `logit_lens(${model}, prompt=${text}, position=-1)`),
      `says = ${both() ? `${says("a")}, ${says("b")}` : says("result")}`,
    ].join("\n"),
    numbers: () => Promise.resolve({ ...about(), says: sides.value.map((of) => of.layers.value.map((layer) => layer?.says ?? [])) }),
  };
}

const rows = (values: Float32Array, size: number): number[][] => Array.from({ length: size }, (_, row) => [...values.subarray(row * size, (row + 1) * size)]);

/** Every head's exact pattern, asked of the server: the small pictures of the page are coarser. */
async function everyPattern(): Promise<Record<number, number[][][]>> {
  const size = pairs.value?.length ?? first.value.tokens.value.length;
  const counts = first.value.layers.value.map((layer) => layer?.heads?.entropy.length ?? 0);
  const bytes = counts.reduce((sum, count) => sum + count, 0) * size ** 2 * 4;
  if (bytes > MOST) throw new Error(`all patterns have ${Math.ceil(bytes / 1e6)} MB, ${Math.floor(MOST / 1e6)} at most as JSON: take Python, or one head's below`);
  const found: Record<number, number[][][]> = {};
  for (const [layer, count] of counts.entries()) for (let head = 0; head < count; head++) {
    const [one, two] = await Promise.all(sides.value.map((of) => exact(of, layer, head)));
    (found[layer] ??= []).push(rows(two ? minus(one!, two, whole() ? null : pairs.value) : one!, size));
  }
  return found;
}

const exact = (of: Side, layer: number, head: number): Promise<Float32Array> => new Promise((done, refused) => session.start({ type: "need", of: of.run.value!.id, layer, head }, ({ frame, text }) => {
  if (frame) done(frame.parts.pattern as Float32Array);
  if (text?.type === "error") refused(new Error(`${text.message}. ${text.hint}`));
}));
