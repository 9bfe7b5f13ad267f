/** What several views need: linked marks, a legend, and the table that says the same in words. */
import type { ComponentChildren } from "preact";
import { css, shade } from "../draw/colour";
import { number, visible } from "../draw/text";
import { headOf, hover, neuronOf, NONE, select, selection, type Selection } from "../state/selection";
import { dark } from "../state/theme";
import type { Mark } from "../api/generated";

export const label = (mark: Pick<Mark, "label" | "token">): string => (mark.token ? visible(mark.label) : mark.label);

export type Place = Partial<Selection>;

/** Attributes that tie a mark to a head or a token: hover previews, click selects, for mouse and keyboard. */
export function tied(place: Place | null) {
  if (!place) return {};
  const chosen = (Object.keys(place) as (keyof Selection)[]).every((name) => selection.value[name] === place[name]);
  return {
    "data-chosen": chosen ? "" : undefined,
    onMouseEnter: () => (hover.value = { ...NONE, ...place }),
    onMouseLeave: () => (hover.value = NONE),
    onClick: () => select(place),
  };
}

export function linked(site: string | null) {
  const neuron = neuronOf(site);
  return tied(headOf(site) ?? (neuron ? { neuron } : null));
}

/** What the colours of signed numbers say that are not for or against an answer, such as activations. */
export const SIGNS = "orange below 0, blue above";
/** How the caption of a difference begins. */
export const MORE = "Blue is more in A, orange more in B.";
/** What the colours of a difference say. */
export const LESS = "blue more in A, orange more in B";

export function largest(values: Iterable<number | null>): number {
  let most = 0;
  for (const value of values) if (value !== null && Math.abs(value) > most) most = Math.abs(value);
  return most;
}

export function Legend({ maximum, signed, unit, note = "orange against, blue for" }: { maximum: number; signed: boolean; unit: string; note?: string | undefined }) {
  const steps = Array.from({ length: 13 }, (_, i) => (signed ? (i - 6) / 6 : i / 12));
  return (
    <p class="legend">
      <span>{signed ? number(-maximum) : "0"}</span>
      <span class="ramp" aria-hidden="true">
        {steps.map((step) => <i style={{ background: css(shade(dark.value, step, 1, signed)) }} />)}
      </span>
      <span>{number(maximum, signed)} {unit}</span>
      {signed && <span class="muted">{note}</span>}
    </p>
  );
}

export function DataTable({ name, head, rows }: { name: string; head: string[]; rows: (string | number | null)[][] }) {
  return (
    <Wide name={name}>
      <table>
        <thead><tr>{head.map((name) => (name ? <th scope="col">{name}</th> : <td />))}</tr></thead>
        <tbody>
          {rows.map((row) => (
            <tr>{row.map((cell) => <td class={typeof cell === "number" ? "number" : ""}>{typeof cell === "number" ? number(cell) : cell ?? "–"}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

export const Wide = ({ children, name }: { children: ComponentChildren; name: string }) =>
  <div class="wide" tabIndex={0} role="group" aria-label={name}>{children}</div>;
