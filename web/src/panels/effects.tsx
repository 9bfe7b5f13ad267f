/** Parts with their effects, the largest first, as a table: each can be chosen, run alone, and taken along as Python. */
import type { ComponentChildren } from "preact";
import { number } from "../draw/text";
import { headOf, select, selection } from "../state/selection";

/** Rows do not preview what is pointed at: panels above would change their heights, and the buttons move away. */
const chosen = (site: string | null): boolean => { const head = headOf(site); return head !== null && head.layer === selection.value.layer && head.head === selection.value.head; };

export type Row = { name: string; site: string | null; value: number; told?: string; actions?: ComponentChildren };

type Props = { name: string; heads: [string, string]; rows: readonly Row[]; most: number; after?: ComponentChildren };

export const Effects = ({ name, heads, rows, most, after }: Props) => (
  <div class="wide" tabIndex={0} role="group" aria-label={name}>
    <table class="effects" aria-label={name}>
      <thead><tr><th scope="col">part</th><th scope="col"><span class="hidden">size</span></th><th scope="col">{heads[0]}</th><th scope="col">{heads[1]}</th><th scope="col"><span class="hidden">run it alone</span></th></tr></thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.name} data-chosen={chosen(row.site) ? "" : undefined}>
            <th scope="row">{headOf(row.site) ? <button type="button" class="quiet" title="choose this head" onClick={() => select(headOf(row.site)!)}>{row.name}</button> : row.name}</th>
            <td class="signed"><span class="track" aria-hidden="true"><i class={row.value < 0 ? "against" : "toward"} style={{ width: `${(Math.abs(row.value) / (most || 1)) * 50}%` }} /></span></td>
            <td class="number">{number(row.value, true)}</td>
            <td class="muted">{row.told}</td>
            <td>{row.actions}</td>
          </tr>
        ))}
        {after}
      </tbody>
    </table>
  </div>
);
