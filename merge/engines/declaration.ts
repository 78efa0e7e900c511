import type { Engine } from "./engine.ts";

export interface EngineOptions {
  /** The engine's memory never grows beyond. */
  readonly maximumBytes: number;
}

/** What the folder of an engine exports: how it is called, and what it takes to have one. */
export interface EngineDeclaration {
  /** As people give it with `--engine`. */
  readonly name: string;
  /** Before anything is begun with it. @throws EngineError `engine/unavailable` where this machine cannot have it */
  checkAvailable(): Promise<void>;
  /** One for each thread. @throws EngineError `engine/unavailable`, `engine/memory` */
  create(options: EngineOptions): Promise<Engine>;
}
