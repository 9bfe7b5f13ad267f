/** Colours that stay apart for colour-blind readers: orange = against, blue = for, one ramp for amounts. As palette.py. */
type Theme = { against: string[]; amount: string[]; toward: string[] };
export const THEMES: Record<"dark" | "light", Theme> = {
  dark: {
    against: ["#1b1e26", "#a3622a", "#ffb86b"],
    amount: ["#1b1e26", "#3b496c", "#8a8678", "#fee838"],
    toward: ["#1b1e26", "#3f74a8", "#8cc7ff"],
  },
  light: {
    against: ["#f7f7f7", "#f0a650", "#b35806"],
    amount: ["#f7f7f3", "#c9c2a0", "#707173", "#00224e"],
    toward: ["#f7f7f7", "#68a9d3", "#2166ac"],
  },
};

export type RGB = readonly [number, number, number];

function channels(colour: string): RGB {
  const number = parseInt(colour.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

function mix(ramp: string[], amount: number): RGB {
  const place = Math.min(1, Math.max(0, amount)) * (ramp.length - 1);
  const index = Math.min(Math.floor(place), ramp.length - 2);
  const [low, high] = [channels(ramp[index]!), channels(ramp[index + 1]!)];
  const share = place - index;
  return [0, 1, 2].map((c) => Math.round(low[c]! + (high[c]! - low[c]!) * share)) as unknown as RGB;
}

/** The colour of a value whose strongest colour is at `maximum`. */
export function shade(dark: boolean, value: number, maximum: number, signed: boolean): RGB {
  const theme = dark ? THEMES.dark : THEMES.light;
  const ramp = !signed ? theme.amount : value >= 0 ? theme.toward : theme.against;
  return mix(ramp, maximum ? Math.abs(value) / maximum : 0);
}

export const css = (colour: RGB): string => `rgb(${colour.join(",")})`;

/** Black or white, whichever is read more easily on the colour. */
export function ink(colour: RGB): string {
  const linear = colour.map((c) => ((c / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0]! + 0.7152 * linear[1]! + 0.0722 * linear[2]! > 0.179 ? "#000" : "#fff";
}

/** A table of 256 colours, so that canvases are filled byte by byte. */
export function table(dark: boolean, signed: boolean): Uint8ClampedArray {
  const colours = new Uint8ClampedArray(256 * 4);
  for (let step = 0; step < 256; step++) {
    const value = signed ? (step - 128) / 127 : step / 255;
    colours.set([...shade(dark, value, 1, signed), 255], step * 4);
  }
  return colours;
}
