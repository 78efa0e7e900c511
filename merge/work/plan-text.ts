import { canonicalJson, type Plan } from "./plan.ts";

/**
 * The plan as text, a line at a time: all but tasks and slices, then each task, then each slice. The SHA-256 of the text is the plan's
 * digest. In lines, since a plan may be longer than the longest string.
 */
export function* planLines(plan: Plan): Generator<string> {
  const { tasks, slices, ...rest } = plan;
  yield canonicalJson(rest);
  for (const task of tasks) yield `\n${canonicalJson(task)}`;
  for (const slice of slices) yield `\n${canonicalJson(slice)}`;
}

/** The text as bytes, in pieces of at most `sizeBytes`. Lines are encoded in groups: most are much shorter than a piece. */
export function* planBytes(plan: Plan, sizeBytes: number): Generator<Uint8Array> {
  let group: string[] = [];
  let length = 0;
  for (const line of planLines(plan)) {
    group.push(line);
    length += line.length;
    if (length < sizeBytes) continue;
    yield* cut(encoder.encode(group.join("")), sizeBytes);
    group = [];
    length = 0;
  }
  yield* cut(encoder.encode(group.join("")), sizeBytes);
}

function* cut(bytes: Uint8Array, sizeBytes: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

/** The plan of its text; whether it is that, its SHA-256 tells before. @throws SyntaxError for another text */
export function planFromText(text: Uint8Array): Plan {
  const rest: unknown[] = [];
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf(NEWLINE, at);
    const line = text.subarray(at, end < 0 ? text.length : end);
    rest.push(JSON.parse(decoder.decode(line)));
    at += line.length + 1;
  }
  const [head, ...lines] = rest as [
    Omit<Plan, "tasks" | "slices">,
    ...(Plan["tasks"][number] | Plan["slices"][number])[],
  ];
  // A slice has parts, a task has none.
  const tasks = lines.filter((line): line is Plan["tasks"][number] => !("parts" in line));
  const slices = lines.filter((line): line is Plan["slices"][number] => "parts" in line);
  return { ...head, tasks, slices };
}

const NEWLINE = 0x0a;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
