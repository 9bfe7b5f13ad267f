/** Every kind of picture has its component: a kind without one does not compile. */
import "./theme.css";
import "./views.css";
import type { ComponentChildren, FunctionComponent } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { View } from "../api/generated";
import { plainly, visible } from "../draw/text";
import { ArcsView } from "./arcs";
import { BarsView } from "./bars";
import { GraphView } from "./graph";
import { HeadGridView, HeatmapView } from "./grid";
import { LinesView } from "./lines";
import { ScatterView } from "./scatter";
import { DataTable, label } from "./shared";
import { TableView } from "./table";
import { TokensView } from "./tokens";

type Of<Kind extends View["kind"]> = Extract<View, { kind: Kind }>;
const DRAWN: { [Kind in View["kind"]]: FunctionComponent<{ view: Of<Kind> }> } = {
  bars: BarsView, heatmap: HeatmapView, head_grid: HeadGridView, tokens: TokensView, lines: LinesView,
  scatter: ScatterView, arcs: ArcsView, graph: GraphView, table: TableView,
};

/** `drawn`: instead of what the kind of the view draws by itself. */
export function Picture({ view: given, drawn }: { view: View; drawn?: ComponentChildren }) {
  const view = useMemo(() => plainly(given), [given]);
  const [twin, setTwin] = useState(false);
  const Drawn = DRAWN[view.kind] as FunctionComponent<{ view: View }>;
  return (
    <figure>
      <figcaption>
        <b>{view.title}</b>{"unit" in view && view.unit && <span class="muted"> · {view.unit}</span>}
        {view.kind !== "table" && (
          <button class="quiet" aria-label={`${view.title}: ${twin ? "picture" : "table"}`} onClick={() => setTwin(!twin)}>{twin ? "picture" : "table"}</button>
        )}
        {view.caption && <span class="muted caption">{view.caption}</span>}
      </figcaption>
      {twin ? <Twin view={view} /> : drawn ?? <Drawn view={view} />}
    </figure>
  );
}

/** The same numbers as a table. */
export function Twin({ view }: { view: View }) {
  switch (view.kind) {
    case "bars": return <DataTable name={view.title} head={["", view.unit, ""]} rows={view.items.map((item) => [label(item), item.value, item.remark])} />;
    case "heatmap": return <DataTable name={view.title} head={["", ...view.columns.map(label)]} rows={view.values.map((row, i) => [label(view.rows[i]!), ...row])} />;
    case "head_grid": return <DataTable name={view.title} head={["", ...(view.values[0] ?? []).map((_, i) => `H${i}`)]} rows={view.values.map((row, i) => [`L${i}`, ...row])} />;
    case "tokens": return <DataTable name={view.title} head={["", "token", view.unit]} rows={view.items.map((item, i) => [String(i), visible(item.text), item.value])} />;
    case "lines": return <DataTable name={view.title} head={["", ...view.series.map(label)]} rows={view.x.map((mark, i) => [label(mark), ...view.series.map((line) => line.values[i] ?? null)])} />;
    case "scatter": return <DataTable name={view.title} head={["", ...view.axes, "group"]} rows={view.points.map((point) => [label(point), point.x, point.y, ...(point.z === null ? [] : [point.z]), point.group ?? ""])} />;
    case "arcs": return <DataTable name={view.title} head={["from", "to", view.unit]} rows={view.arcs.map((arc) => [visible(view.items[arc.source]!.text), visible(view.items[arc.target]!.text), arc.value])} />;
    case "graph": return <DataTable name={view.title} head={["from", "to", view.unit]} rows={view.edges.map((edge) => [edge.source, edge.target, edge.value])} />;
    case "table": return <DataTable name={view.title} head={view.columns.map((column) => column.name)} rows={view.rows.map((row) => [...row.cells])} />;
  }
}
