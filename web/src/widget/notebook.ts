/** Whether the notebook is dark: as JupyterLab or VS Code says on the page's body, else as the system has it. */
import { follow } from "../state/theme";

function told(): boolean | null {
  const { jpThemeLight, vscodeThemeKind } = document.body.dataset;
  if (jpThemeLight !== undefined) return jpThemeLight === "false";
  const kind = vscodeThemeKind ?? KINDS.find((name) => document.body.classList.contains(name));
  return kind === undefined ? null : !kind.endsWith("light");
}

const KINDS = ["vscode-high-contrast-light", "vscode-light", "vscode-high-contrast", "vscode-dark"];

/** Follows the notebook's theme; returns what ends that. */
export function followNotebook(): () => void {
  const [look, endSystem] = follow(told);
  const watch = new MutationObserver(look);
  watch.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-vscode-theme-kind"] });
  return () => { endSystem(); watch.disconnect(); };
}
