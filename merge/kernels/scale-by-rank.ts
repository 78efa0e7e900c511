import {
  binCountOf,
  binOfAt,
  countOf,
  countRow,
  ENTRY_BYTES,
  LOW,
  membersAt,
  NEXT,
  OPEN,
  placeMembers,
  sortKeys,
} from "./row-bins";

/**
 * scaled[r, k] = table[rank of |d[r, k]| in its row, ascending, of equals the lower k first] * d[r, k]. table: f32[rowLength];
 * d, scaled: f32[rows, rowLength], may be the same; scratch: rankScratchBytes(rowLength).
 */
export function scaleByRank(scaled: usize, d: usize, table: usize, scratch: usize, rows: i32, rowLength: i32): void {
  const binOf = binOfAt(scratch, rowLength);
  const members = membersAt(scratch, rowLength);
  for (let row = 0; row < rows; row++) {
    countRow(scratch, binOf, d, rowLength);
    openAll(scratch, rowLength);
    placeMembers(members, scratch, binOf, d, rowLength);
    sortAll(members, scratch, rowLength);
    for (let rank = 0; rank < rowLength; rank++) {
      const at = (<usize>load<u32>(members + ((<usize>rank) << 3))) << 2;
      store<f32>(scaled + at, load<f32>(table + ((<usize>rank) << 2)) * load<f32>(d + at));
    }
    scaled += (<usize>rowLength) << 2;
    d += (<usize>rowLength) << 2;
  }
}

function openAll(entries: usize, rowLength: i32): void {
  const end = entries + <usize>((binCountOf(rowLength) + 1) * ENTRY_BYTES);
  let rank: u32 = 0;
  for (let entry = entries; entry < end; entry += ENTRY_BYTES) {
    const count = countOf(entry);
    store<u32>(entry, rank, LOW);
    store<u32>(entry, rank, NEXT);
    store<u32>(entry, 1, OPEN);
    rank += count;
  }
}

function sortAll(members: usize, entries: usize, rowLength: i32): void {
  const end = entries + <usize>((binCountOf(rowLength) + 1) * ENTRY_BYTES);
  for (let entry = entries; entry < end; entry += ENTRY_BYTES) {
    const first = load<u32>(entry, LOW);
    sortKeys(members + ((<usize>first) << 3), <i32>(load<u32>(entry, NEXT) - first));
  }
}
