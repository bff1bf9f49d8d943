/** How reports mark up and clean text for a terminal; every report takes a `Style`, so none of them knows about colour. */

/** Marks up text that a report prints. Each function returns the text, perhaps with codes around it. */
export interface Style {
  /** Titles and table heads. */
  bold(text: string): string;
  /** Remarks that can be skipped. */
  dim(text: string): string;
  /** What the reader should not miss. */
  warn(text: string): string;
}

const same = (text: string): string => text;

/** No codes at all: for pipes, files and NO_COLOR. */
export const PLAIN: Style = { bold: same, dim: same, warn: same };

/** Wraps text in SGR codes (ECMA-48 8.3.117): the one that sets the look and the one that takes it back. */
const sgr =
  (on: number, off: number) =>
  (text: string): string =>
    `\u001b[${on}m${text}\u001b[${off}m`;

/** Codes that every colour terminal knows. Whether to use them is the caller's decision. */
export function ansi(): Style {
  return { bold: sgr(1, 22), dim: sgr(2, 22), warn: sgr(33, 39) };
}

/**
 * Text from a file, made harmless for a terminal: control characters (which could move the cursor or start codes) and
 * line and direction marks become U+FFFD.
 */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd');
}

/** At most `max` UTF-16 units of a text; an ellipsis stands for what was left out, and no character is cut in half. */
export function clip(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** `text` in lines of at most `width` letters, broken between words where there are any. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const space = rest.lastIndexOf(' ', width);
    const end = space > 0 ? space : width;
    lines.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return [...lines, rest];
}
