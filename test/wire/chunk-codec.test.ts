import { expect, test } from "vitest";
import { FetchResultResponse, ReadInputResponse, SendResultRequest } from "../../proto/index.ts";
import { fetchResultMethod, readInputMethod, sendResultMethod } from "../../wire/index.ts";

/** Lengths whose prefix has one byte, two, three. */
const SIZES = [0, 1, 127, 128, 16_383, 16_384, 1_048_576];
const bytesOf = (size: number) => Buffer.from(Uint8Array.from({ length: size }, (_, k) => (k * 13) & 0xff));

test.each(SIZES)("a chunk of %i bytes is encoded as the generated code does it, and read by either", (size) => {
  const chunk = bytesOf(size);
  const sha256 = Buffer.alloc(0);
  const input = readInputMethod.responseSerialize({ chunk });
  // An empty field may be left out or said; both mean the same.
  if (size > 0) expect(input.equals(ReadInputResponse.encode({ chunk }).finish())).toBe(true);
  expect(ReadInputResponse.decode(input).chunk.equals(chunk)).toBe(true);
  expect(readInputMethod.responseDeserialize(input).chunk.equals(chunk)).toBe(true);

  const fetched = fetchResultMethod.responseSerialize({ chunk, sha256 });
  expect(FetchResultResponse.decode(fetched).chunk.equals(chunk)).toBe(true);
  const again = fetchResultMethod.responseDeserialize(fetched);
  expect(again.chunk.equals(chunk) && again.sha256.equals(sha256)).toBe(true);

  const request = { message: { $case: "chunk", value: chunk } } as const;
  const sent = sendResultMethod.requestSerialize(request);
  expect(SendResultRequest.decode(sent).message?.$case).toBe("chunk");
  const { message } = sendResultMethod.requestDeserialize(sent);
  expect(message?.$case === "chunk" && message.value.equals(chunk)).toBe(true);
});

test("what is no lone chunk goes the generated way", () => {
  const last = { chunk: bytesOf(3), sha256: bytesOf(32) };
  expect(fetchResultMethod.responseDeserialize(fetchResultMethod.responseSerialize(last))).toMatchObject(last);
  const header = {
    message: {
      $case: "header",
      value: { id: { jobId: "j", unitId: "u", attempt: 7n }, offsetBytes: 1n, sizeBytes: 2n },
    },
  } as const;
  expect(sendResultMethod.requestDeserialize(sendResultMethod.requestSerialize(header))).toMatchObject(header);
});

test("a chunk that is cut off is refused, not shortened", () => {
  const whole = readInputMethod.responseSerialize({ chunk: bytesOf(200) });
  expect(() => readInputMethod.responseDeserialize(whole.subarray(0, 150))).toThrow();
});
