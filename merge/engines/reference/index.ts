import type { EngineDeclaration } from "../declaration.ts";
import { createReferenceEngine } from "./reference-engine.ts";

export const reference: EngineDeclaration = {
  name: "reference",
  checkAvailable: async () => {},
  create: createReferenceEngine,
};
