import { CodedError, type Explanations } from "../../errors/index.ts";

/** Every code an EngineError may carry. docs/errors.md is made of this. */
export const engineCodes = {
  "engine/memory": {
    means: "The engine's memory is not enough for what must be held at once.",
    advice: "More `--memory`, or fewer `--threads`.",
  },
  "engine/other-bits": {
    means:
      "A device was tried before work, and a kernel on it gave other bits than it must: a merge on it would be another merge.",
    advice: "Another engine (`--engine wasm`); a newer driver.",
  },
  "engine/unavailable": {
    means: "The kernels are missing or cannot be compiled on this machine.",
    advice: "`npm run build`; Node 20.20.2 or later; or `--engine reference`.",
  },
} satisfies Explanations<"engine">;

export type EngineCode = keyof typeof engineCodes;

/** The engine cannot go on. Not retryable with the same budget. */
export class EngineError extends CodedError<EngineCode> {}
