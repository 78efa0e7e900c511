/** An option is declared once, and is the same wherever people or programs say it. */
import type { ServiceError } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { jobsHandlers } from "../../api/grpc/index.ts";
import { createProgram } from "../../cli/program.ts";
import { mergeOptions, type OptionDeclaration, type OptionName, optionsOf } from "../../options/index.ts";
import { type JobsServer, MergeOptions } from "../../proto/index.ts";
import { type JobCoordinator, JobService, Roots } from "../../service/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { failuresOfCall, messageOfOptions, optionsOfMessage } from "../../wire/index.ts";
import { MODELS, run } from "../e2e/cli-process.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const all = Object.entries(mergeOptions) as [OptionName, OptionDeclaration][];
const submitted = optionsOf("submit");

test("the help of a command has those options that it takes, and no other", () => {
  for (const command of createProgram(() => async () => {}).commands) {
    const shown = command.options.map(({ flags }) => flags);
    for (const [, { flag, value, commands }] of all) {
      const flags = value === undefined ? flag : `${flag} <${value}>`;
      expect([command.name(), flag, shown.includes(flags)]).toEqual([
        ...[command.name(), flag],
        (commands as readonly string[]).includes(command.name()),
      ]);
      if (shown.includes(flags)) expect(command.helpInformation()).toContain(flags);
    }
  }
});

test("each option that may be submitted has a field in the contract, and each field an option", () => {
  const fields = Object.keys(MergeOptions.fromPartial({})).filter((name) => !name.startsWith("_"));
  expect(submitted.map(([, { field }]) => field).toSorted()).toEqual(fields.toSorted());
  expect(all.filter(([, { commands, field }]) => commands.includes("submit") !== (field !== undefined))).toEqual([]);
});

test("of what is not said nothing arrives", () => {
  expect(optionsOfMessage(undefined)).toEqual({});
  const sent = MergeOptions.decode(MergeOptions.encode(messageOfOptions({})).finish());
  expect(optionsOfMessage(sent)).toEqual({});
});

test("what is said arrives", () => {
  const flags = Object.fromEntries(submitted.flatMap(([name, { type }]) => (type === "flag" ? [[name, true]] : [])));
  const options = { ...flags, seed: "18446744073709551615", sliceBytes: 1, shardBytes: 2 ** 53 - 1, auditShare: 0 };
  expect(Object.keys(options).toSorted()).toEqual(submitted.map(([name]) => name).toSorted());
  const sent = MergeOptions.decode(MergeOptions.encode(messageOfOptions(options)).finish());
  expect(optionsOfMessage(sent)).toEqual(options);
});

describe("a value that cannot be", () => {
  /** What a coordinator answers, before it looks at anything else. */
  async function answered(options: Partial<MergeOptions>) {
    const store = new FileStore();
    const roots = await Roots.open(store, [{ name: "models", path: placeOf(MODELS) }]);
    const nothing = {} as never;
    const coordinator = { onStop: () => {} } as unknown as JobCoordinator;
    const jobs = new JobService({ store, roots, coordinator, hub: nothing, defaults: {} });
    const handlers = jobsHandlers(jobs, () => ({ role: "submitter", name: "anna" }));
    const request = {
      ...{ requestId: "1", name: "", recipe: "", recipeName: "", output: { root: "models", path: "x" } },
      options: MergeOptions.fromPartial(options),
    };
    return new Promise((resolve, reject) => {
      const callback = (error: unknown) =>
        error === null ? reject(error) : resolve(failuresOfCall(error as ServiceError, "c"));
      handlers.submit(
        { request } as Parameters<JobsServer["submit"]>[0],
        callback as Parameters<JobsServer["submit"]>[1],
      );
    });
  }

  const cases: readonly (readonly [OptionName, text: string, value: Partial<MergeOptions>])[] = [
    ["seed", "18446744073709551616", { randomSeed: "18446744073709551616" }],
    ["seed", "many", { randomSeed: "many" }],
    ["sliceBytes", "18446744073709551615", { sliceBytes: 2n ** 64n - 1n }],
    ["shardBytes", "9007199254740992", { shardBytes: 2n ** 53n }],
    ["auditShare", "1.5", { auditShare: 1.5 }],
  ];

  test.each(cases)("of %s, %s, is answered alike by the command and the coordinator", async (name, text, value) => {
    const { flag } = mergeOptions[name];
    const folder = temporaryFolder();
    const { code, events } = await run(["submit", "recipe.yml", "models:x", "--json", flag, text], folder);
    expect(code).toBe(2);
    const { event: _, ...said } = events[0] ?? { event: "" };
    expect(said).toMatchObject({ code: "options/value", message: expect.stringContaining(flag) });
    expect(await answered(value)).toEqual([{ ...said, retryable: false }]);
  });

  test("has a case for each option that is more than said or not", () => {
    const wanted = submitted.filter(([, { type }]) => type !== "flag").map(([name]) => name);
    expect([...new Set(cases.map(([name]) => name))].toSorted()).toEqual(wanted.toSorted());
  });
});
