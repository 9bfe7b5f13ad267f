/** What several views need: linked marks, a legend, and the table that says the same in words. */
import type { ComponentChildren } from "preact";
import { css, shade } from "../draw/colour";
import { number, visible } from "../draw/text";
import { dark, headOf, hover, select, selection } from "../state/lab";
import type { Mark } from "../api/generated";

export const label = (mark: Pick<Mark, "label" | "token">): string => (mark.token ? visible(mark.label) : mark.label);

/** Attributes that tie a mark to its head: hover previews, click selects, for mouse and keyboard. */
export function linked(site: string | null) {
  const place = headOf(site);
  if (!place) return {};
  const chosen = selection.value.layer === place.layer && selection.value.head === place.head;
  return {
    "data-chosen": chosen ? "" : undefined,
    onMouseEnter: () => (hover.value = { ...place, query: null, key: null }),
    onMouseLeave: () => (hover.value = { layer: null, head: null, query: null, key: null }),
    onClick: () => select(place),
  };
}

export function largest(values: Iterable<number | null>): number {
  let most = 0;
  for (const value of values) if (value !== null && Math.abs(value) > most) most = Math.abs(value);
  return most;
}

export function Legend({ maximum, signed, unit }: { maximum: number; signed: boolean; unit: string }) {
  const steps = Array.from({ length: 13 }, (_, i) => (signed ? (i - 6) / 6 : i / 12));
  return (
    <p class="legend">
      <span>{signed ? number(-maximum) : "0"}</span>
      <span class="ramp" aria-hidden="true">
        {steps.map((step) => <i style={{ background: css(shade(dark.value, step, 1, signed)) }} />)}
      </span>
      <span>{number(maximum, signed)} {unit}</span>
      {signed && <span class="muted">orange against, blue for</span>}
    </p>
  );
}

export function DataTable({ head, rows }: { head: string[]; rows: (string | number | null)[][] }) {
  return (
    <div class="wide" tabIndex={0} role="region" aria-label="table">
      <table>
        <thead><tr>{head.map((name) => <th scope="col">{name}</th>)}</tr></thead>
        <tbody>
          {rows.map((row) => (
            <tr>{row.map((cell) => <td class={typeof cell === "number" ? "number" : ""}>{typeof cell === "number" ? number(cell) : cell ?? "–"}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export const Wide = ({ children, name }: { children: ComponentChildren; name: string }) =>
  <div class="wide" tabIndex={0} role="region" aria-label={name}>{children}</div>;
