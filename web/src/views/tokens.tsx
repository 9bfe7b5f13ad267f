import type { Tokens } from "../api/generated";
import { css, ink, shade } from "../draw/colour";
import { number, visible } from "../draw/text";
import { hover, inSpan, select, selection } from "../state/selection";
import { dark } from "../state/theme";
import { largest, Legend, LESS, MORE, SIGNS } from "./shared";

export function TokensView({ view }: { view: Tokens }) {
  const maximum = largest(view.items.map((item) => item.value));
  return (
    <>
      <p class="chips">
        {view.items.map((item, index) => {
          const colour = maximum && item.value !== null ? shade(dark.value, item.value, maximum, view.signed) : null;
          return (
            <span class={index === view.marked ? "token marked" : "token"} style={colour ? { background: css(colour), color: ink(colour) } : {}}
              data-chosen={selection.value.query === index || inSpan(index) ? "" : undefined}
              title={`${index}: ${visible(item.text)}${item.value === null ? "" : ` ${number(item.value, view.signed)} ${view.unit}`}`}
              onMouseEnter={() => (hover.value = { ...hover.value, query: index })}
              onMouseLeave={() => (hover.value = { ...hover.value, query: null })}
              onClick={() => select({ query: index })}>{visible(item.text)}</span>
          );
        })}
      </p>
      {maximum > 0 && <Legend maximum={maximum} signed={view.signed} unit={view.unit} note={view.caption.startsWith(MORE) ? LESS : SIGNS} />}
    </>
  );
}
