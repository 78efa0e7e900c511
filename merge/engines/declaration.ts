import type { Device } from "./device.ts";

/** What the folder of an engine exports: how it is called, and what it takes to have a device of it. */
export interface EngineDeclaration {
  /** As people give it with `--engine`. */
  readonly name: string;
  /** One for each thread. @throws EngineError `engine/unavailable` where this machine cannot have it */
  open(): Promise<Device>;
}
