/** Where a table has to fit: the columns of a terminal, and the column of the table that is shortened for it. */
export interface TableFit {
  readonly width: number;
  readonly column: number;
}

/** What a shortened column keeps at least. */
const SHORTEST_CELL = 12;

/**
 * Rows of cells as aligned columns, two spaces between them; columns named in `right` are aligned to the right. With `fit`, cells of
 * one column that are too long for it lose their middle.
 */
export function textTable(all: readonly (readonly string[])[], right: readonly number[] = [], fit?: TableFit): string {
  const rows = fit === undefined ? all : fitted(all, fit);
  const widths = widthsOf(rows);
  const lines = rows.map((row) =>
    row
      .map((cell, k) => (right.includes(k) ? cell.padStart(widths[k] ?? 0) : cell.padEnd(widths[k] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
  return lines.map((line) => `${line}\n`).join("");
}

function widthsOf(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [k, cell] of row.entries()) widths[k] = Math.max(widths[k] ?? 0, cell.length);
  }
  return widths;
}

function fitted(rows: readonly (readonly string[])[], { width, column }: TableFit): string[][] {
  const others = widthsOf(rows).reduce((sum, size, k) => sum + (k === column ? 0 : size + 2), 0);
  const room = Math.max(SHORTEST_CELL, width - others);
  return rows.map((row) => row.map((cell, k) => (k === column ? withoutMiddle(cell, room) : cell)));
}

function withoutMiddle(cell: string, room: number): string {
  if (cell.length <= room) return cell;
  const before = Math.floor((room - 1) / 2);
  return `${cell.slice(0, before)}…${cell.slice(cell.length - (room - 1 - before))}`;
}

/** "1.5 GiB", "512 bytes". */
export function readableBytes(bytes: number): string {
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = "";
  for (const next of units) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return unit === "" ? `${bytes} bytes` : `${value.toFixed(value < 10 ? 2 : 1)} ${unit}`;
}

/** "1 file", "2 files". */
export function counted(count: number, what: string): string {
  return `${count.toLocaleString("en-US")} ${what}${count === 1 ? "" : "s"}`;
}

/** "8.03 B", "336 M", "57": three digits. */
export function readableCount(count: number): string {
  const units = ["K", "M", "B", "T"];
  let value = count;
  let unit = "";
  for (const next of units) {
    if (value < 999.5) break;
    value /= 1000;
    unit = next;
  }
  if (unit === "") return String(count);
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${unit}`;
}
