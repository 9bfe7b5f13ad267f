/** Copies text; says what happened, since browsers refuse the clipboard to pages that are not served securely. */
export async function copy(text: string, what: string): Promise<string> {
  try {
    await navigator.clipboard.writeText(text);
    return `${what} copied`;
  } catch {
    return old(text) ? `${what} copied` : "the browser refused the clipboard";
  }
}

/** As before there were clipboards of pages. */
function old(text: string): boolean {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "hidden";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}
