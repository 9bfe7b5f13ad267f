import type { Table } from "../api/generated";
import { number, visible } from "../draw/text";
import { linked, Wide } from "./shared";

export function TableView({ view }: { view: Table }) {
  return (
    <Wide name={view.title}>
      <table>
        <thead><tr>{view.columns.map((column) => <th scope="col">{column.name}</th>)}</tr></thead>
        <tbody>
          {view.rows.map((row) => (
            <tr {...linked(row.site)}>
              {row.cells.map((cell, index) => (
                <td class={typeof cell === "number" ? "number" : view.columns[index]!.token ? "token" : ""}>
                  {typeof cell === "number" ? (Number.isInteger(cell) ? String(cell) : number(cell)) : cell === null ? "–" : view.columns[index]!.token ? visible(cell) : cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}
