import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { type Failure, FailuresError } from "../../merge/work/index.ts";
import { FAILURES_KEY, failuresOfCall, statusOf, WireError } from "../../wire/index.ts";

const failure = (k: number, message = `fault ${k}`): Failure => ({
  ...{ code: "recipe/unknown-key", message, hint: "Take the suggestion.", retryable: false },
});

const arrived = (error: unknown) => ({ ...statusOf(error), name: "Error", message: "" }) as ServiceError;

describe("a call that fails", () => {
  test("says it in code, message and hint, all of several", () => {
    const failures = [failure(1), failure(2)] as const;
    expect(failuresOfCall(arrived(new FailuresError(failures)), "host:7410")).toEqual(failures);
    expect(statusOf(new FailuresError(failures)).details).toBe("fault 1\nfault 2");
  });

  test("of very many or very long faults the first ones arrive", () => {
    const many = [failure(0), ...Array.from({ length: 999 }, (_, k) => failure(k + 1))] as const;
    const { metadata, details } = statusOf(new FailuresError(many));
    expect((metadata.get(FAILURES_KEY)[0] as Buffer).length).toBeLessThan(5000);
    expect(details.length).toBeLessThan(3000);
    const some = failuresOfCall(arrived(new FailuresError(many)), "host:7410");
    expect(some).toEqual(many.slice(0, some.length));
    expect(some.length).toBeGreaterThan(20);
    const [long] = failuresOfCall(arrived(new FailuresError([failure(1, "x".repeat(100_000))])), "host:7410");
    expect(long.message).toMatch(/^x{1000,}$/);
  });

  test("where nobody answered, says where, and that it may pass", () => {
    const error = Object.assign(new Error(), { code: status.UNAVAILABLE, details: "connection refused" });
    const [only] = failuresOfCall(
      { ...error, metadata: new Metadata(), name: "", message: "" } as ServiceError,
      "host:7410",
    );
    expect(only).toMatchObject({
      code: "wire/disconnected",
      message: "host:7410: connection refused",
      retryable: true,
    });
  });

  test.each([
    ["wire/malformed", false, status.INVALID_ARGUMENT],
    ["wire/other-version", false, status.FAILED_PRECONDITION],
    ["wire/disconnected", true, status.UNAVAILABLE],
  ] as const)("%s has its status", (code, retryable, expected) => {
    expect(statusOf(new WireError(code, "m", { hint: "h", retryable })).code).toBe(expected);
  });
});
