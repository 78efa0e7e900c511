import { describe, expect, test } from "vitest";
import { defaultsOf, optionsOf } from "../../options/index.ts";
import { type JobOptions, jsonOfOptions, optionsOfJson } from "../../service/job-options.ts";

const options: JobOptions = {
  ...defaultsOf("submit"),
  seed: "7",
  restart: true,
  requestId: "1",
  recipeName: "r.yml",
};

describe("the options in the record of a job", () => {
  test("are read as they were written", () => {
    expect(optionsOfJson(JSON.parse(JSON.stringify(jsonOfOptions(options))))).toEqual(options);
  });

  test("are read from a record of 0.1.0, which always cut embeddings, and keep a seed as it was written", () => {
    const { cutEmbeddings: _, ...earlier } = options;
    expect(optionsOfJson({ ...earlier, seed: "0x10" })).toEqual({ ...options, seed: "0x10", cutEmbeddings: true });
  });

  test.each([...optionsOf("submit").map(([name]) => name), "requestId", "recipeName"] as const)(
    "cannot be of another kind: %s",
    (name) => {
      const wrong = { ...options, [name]: null };
      expect(() => optionsOfJson(wrong as never)).toThrow(
        expect.objectContaining({ code: "service/option", message: expect.stringContaining(`its ${name} is null`) }),
      );
    },
  );
});
