import { AttachRequest, AttachResponse, CoordinatorService } from "../proto/index.ts";
import { readInputMethod, sendResultMethod, sendSummaryMethod } from "./chunk-codec.ts";

const LENGTH_DELIMITED = 2;
const SEVERAL_REQUESTS = (6 << 3) | LENGTH_DELIMITED;
const SEVERAL_RESPONSES = (9 << 3) | LENGTH_DELIMITED;
/** Of one among several. */
const MESSAGES = (1 << 3) | LENGTH_DELIMITED;

type Sent = NonNullable<AttachRequest["message"]>;
type Answered = NonNullable<AttachResponse["message"]>;

/** Messages of Attach are encoded as they come up, and put together when they go. */
export const attachMethod = {
  ...CoordinatorService.attach,
  requestSerialize: asBuffer,
  responseSerialize: asBuffer,
} as const;

/** The service as it is to be offered: bulk bytes and messages of Attach with as few copies as can be. */
export const coordinatorDefinition = {
  ...CoordinatorService,
  attach: attachMethod,
  readInput: readInputMethod,
  sendResult: sendResultMethod,
  sendSummary: sendSummaryMethod,
} as const;

export function encodedRequest(message: Sent): Uint8Array {
  return AttachRequest.encode({ message }).finish();
}

export function encodedResponse(message: Answered): Uint8Array {
  return AttachResponse.encode({ message }).finish();
}

export function severalRequests(messages: readonly Uint8Array[]): Uint8Array {
  return several(SEVERAL_REQUESTS, messages);
}

export function severalResponses(messages: readonly Uint8Array[]): Uint8Array {
  return several(SEVERAL_RESPONSES, messages);
}

/** What came as one message, in order. What is undefined is of a kind that is unknown here. */
export function requestsIn({ message }: AttachRequest): readonly AttachRequest["message"][] {
  return message?.$case === "several" ? message.value.messages.map(({ message: one }) => one) : [message];
}

export function responsesIn({ message }: AttachResponse): readonly AttachResponse["message"][] {
  return message?.$case === "several" ? message.value.messages.map(({ message: one }) => one) : [message];
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function several(tag: number, messages: readonly Uint8Array[]): Uint8Array {
  let inner = 0;
  for (const { length } of messages) inner += 1 + varintBytes(length) + length;
  const bytes = Buffer.allocUnsafe(1 + varintBytes(inner) + inner);
  bytes[0] = tag;
  let at = writeVarint(bytes, 1, inner);
  for (const message of messages) {
    bytes[at] = MESSAGES;
    at = writeVarint(bytes, at + 1, message.length);
    bytes.set(message, at);
    at += message.length;
  }
  return bytes;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 0x7f; rest >>>= 7) bytes++;
  return bytes;
}

/** Returns where it ends. */
function writeVarint(bytes: Uint8Array, from: number, value: number): number {
  let at = from;
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes[at++] = (rest & 0x7f) | 0x80;
  bytes[at++] = rest;
  return at;
}
