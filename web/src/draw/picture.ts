/** A panel as one picture: boxes, bars, cells, drawings and text as they stand on the page, with the colours they have. */
const SPACE = "http://www.w3.org/2000/svg";
const MARGIN = 12;
const LEFT_OUT = "button, select, textarea, input, label, .menu, .hidden, .about, form";
const NAMES = "th button, li button, button.look"; // what is named can be chosen as well
const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-family", "font-size", "font-weight", "opacity", "text-anchor", "paint-order"];

type Made = { image: SVGSVGElement; width: number; height: number };

export function picture(box: HTMLElement): Made {
  const origin = box.getBoundingClientRect();
  const image = document.createElementNS(SPACE, "svg");
  const size = { right: 0, bottom: 0 };
  const place = (left: number, top: number): [number, number] => [left - origin.left + MARGIN, top - origin.top + MARGIN];
  const grow = (rect: DOMRect) => {
    size.right = Math.max(size.right, rect.right - origin.left);
    size.bottom = Math.max(size.bottom, rect.bottom - origin.top);
  };
  const walk = (element: Element) => {
    if (element.matches(LEFT_OUT) && !element.matches(`.thumbnail, ${NAMES}`)) return;
    if (element instanceof HTMLDetailsElement && !element.open) return;
    const rect = element.getBoundingClientRect();
    if (element instanceof SVGElement) { image.append(drawing(element, place(rect.left, rect.top))); grow(rect); return; }
    if (element instanceof HTMLCanvasElement) { image.append(bitmap(element, rect, place(rect.left, rect.top))); grow(rect); return; }
    const fill = getComputedStyle(element).backgroundColor;
    if (element !== box && fill !== "rgba(0, 0, 0, 0)" && rect.width > 0) { image.append(made("rect", place(rect.left, rect.top), { width: rect.width, height: rect.height, fill })); grow(rect); }
    for (const node of element.childNodes) {
      if (node instanceof Element) walk(node);
      else if (node instanceof Text) for (const [line, at] of lines(node, element)) { image.append(written(line, at, element, place)); grow(at); }
    }
  };
  walk(box);
  const [width, height] = [Math.ceil(size.right + 2 * MARGIN), Math.ceil(size.bottom + 2 * MARGIN)];
  image.setAttribute("xmlns", SPACE);
  image.setAttribute("viewBox", `0 0 ${width} ${height}`);
  image.setAttribute("width", String(width));
  image.setAttribute("height", String(height));
  image.prepend(made("rect", [0, 0], { width, height, fill: getComputedStyle(document.body).backgroundColor }));
  return { image, width, height };
}

export const asText = (image: SVGElement): string => new XMLSerializer().serializeToString(image);

/** The picture in dots, two for each of the page's. */
export async function asDots({ image, width, height }: Made): Promise<Blob> {
  const source = URL.createObjectURL(new Blob([asText(image)], { type: "image/svg+xml" }));
  try {
    const loaded = new Image();
    loaded.src = source;
    await loaded.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [2 * width, 2 * height];
    canvas.getContext("2d")!.drawImage(loaded, 0, 0, canvas.width, canvas.height);
    return await new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no picture"))), "image/png"));
  } finally { URL.revokeObjectURL(source); }
}

function made(kind: string, [x, y]: [number, number], attributes: Record<string, string | number>): SVGElement {
  const element = document.createElementNS(SPACE, kind);
  for (const [name, value] of Object.entries({ x: x.toFixed(1), y: y.toFixed(1), ...attributes })) element.setAttribute(name, String(value));
  return element;
}

function drawing(original: SVGElement, [x, y]: [number, number]): SVGElement {
  const copy = original.cloneNode(true) as SVGElement;
  const [from, to] = [[original, ...original.querySelectorAll("*")], [copy, ...copy.querySelectorAll("*")]];
  from.forEach((element, index) => {
    const style = getComputedStyle(element);
    for (const name of STYLES) (to[index] as SVGElement).setAttribute(name, style.getPropertyValue(name));
    to[index]!.removeAttribute("class");
  });
  const rect = original.getBoundingClientRect();
  for (const [name, value] of Object.entries({ x, y, width: rect.width, height: rect.height })) copy.setAttribute(name, value.toFixed(1));
  return copy;
}

function bitmap(canvas: HTMLCanvasElement, rect: DOMRect, place: [number, number]): SVGElement {
  const image = made("image", place, { width: rect.width, height: rect.height, href: canvas.toDataURL("image/png") });
  image.setAttribute("image-rendering", "pixelated");
  return image;
}

/** The lines that a text was broken into, as far as its element lets them be seen. */
function lines(text: Text, element: Element): [string, DOMRect][] {
  const edge = getComputedStyle(element).overflowX === "hidden" ? element.getBoundingClientRect().right : Infinity;
  const range = document.createRange();
  const found: [string, DOMRect][] = [];
  for (let index = 0; index < text.length; index++) {
    range.setStart(text, index);
    range.setEnd(text, index + 1);
    const rect = range.getBoundingClientRect();
    if (rect.width === 0 || rect.right > edge) continue;
    const last = found[found.length - 1];
    if (last && Math.abs(last[1].top - rect.top) < 3) {
      last[0] += text.data[index]!;
      last[1] = new DOMRect(last[1].left, last[1].top, rect.right - last[1].left, last[1].height);
    } else found.push([text.data[index]!, rect]);
  }
  return found;
}

function written(line: string, rect: DOMRect, element: Element, place: (left: number, top: number) => [number, number]): SVGElement {
  const style = getComputedStyle(element);
  const text = made("text", place(rect.left, rect.top + rect.height * 0.79), {
    fill: style.color, "font-family": style.fontFamily, "font-size": style.fontSize, "font-weight": style.fontWeight, "xml:space": "preserve",
  });
  text.textContent = line;
  return text;
}
