import { describe, expect, test } from "vitest";
import { CodedError } from "../../errors/index.ts";

class RoomError extends CodedError<"room/full" | "room/dark"> {}

describe("an error of a room", () => {
  test("bears the name of its class, a code, a hint and what caused it", () => {
    const cause = new Error("no lamp");
    const error = new RoomError("room/dark", "it is dark", { hint: "Bring a lamp.", retryable: true, cause });
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).toBe("RoomError: it is dark");
    expect({ ...error }).toEqual({ name: "RoomError", code: "room/dark", hint: "Bring a lamp.", retryable: true });
    expect(error.cause).toBe(cause);
  });

  test("is not to be tried again, and has no cause, where nothing is said", () => {
    const error = new RoomError("room/full", "12 are in", { hint: "Wait outside." });
    expect(error.retryable).toBe(false);
    expect("cause" in error).toBe(false);
  });
});
