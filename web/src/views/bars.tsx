import type { Bars } from "../api/generated";
import { number } from "../draw/text";
import { label, largest, linked } from "./shared";

export function BarsView({ view }: { view: Bars }) {
  const most = Math.max(largest(view.items.map((item) => item.value)), view.reach ?? 0) || 1;
  const signed = view.signed && view.items.some((item) => item.value !== null && item.value < 0);
  return (
    <ul class={signed ? "bars signed" : "bars"}>
      {view.items.map((item) => {
        const share = item.value === null ? 0 : (Math.abs(item.value) / most) * 100;
        return (
          <li {...linked(item.site)}>
            <span class={item.token ? "name token" : "name"}>{label(item)}</span>
            <span class="track" aria-hidden="true">
              <i class={item.value !== null && item.value < 0 ? "against" : "toward"} style={{ width: `${signed ? share / 2 : share}%` }} />
            </span>
            <span class="number">{number(item.value, view.signed)}</span>
            {item.remark && <span class="muted remark">{item.remark}</span>}
          </li>
        );
      })}
    </ul>
  );
}
