import type { Steps } from "./steps.ts";
import { other } from "./summary-forms.ts";

/** For methods whose verdict follows from the parameters: nothing is surveyed. */
export const noRounds = {
  survey: async () => null,
  *fold(): Steps<null> {
    yield;
    return null;
  },
  readSummary: (): never => {
    throw other("something, though this method asks for no survey");
  },
  settle: (): never => {
    throw new Error("this method asks for no survey");
  },
};
