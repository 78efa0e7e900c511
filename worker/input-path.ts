import { type Place, placeOf } from "../storage/index.ts";

const SCHEME = "input://";

/** Stands for a path where an input's file is on no disk of this machine. */
export function inputPath(input: number, file: number): Place {
  return placeOf(`${SCHEME}${input}/${file}`);
}

export function isInputPath(path: string): boolean {
  return path.startsWith(SCHEME);
}

export function placeOfInput(path: string): { readonly input: number; readonly file: number } {
  const [input, file] = path.slice(SCHEME.length).split("/").map(Number);
  if (input === undefined || file === undefined) throw new Error(`${path} is no path of an input`);
  return { input, file };
}
