import type { EngineDeclaration } from "../declaration.ts";
import { ReferenceDevice } from "./reference-device.ts";

export const reference: EngineDeclaration = {
  name: "reference",
  open: async () => new ReferenceDevice(),
};
