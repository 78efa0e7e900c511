import type { Steps } from "./definition.ts";

/** For methods whose verdict follows from the parameters: nothing is surveyed. */
export const noRounds = {
  survey: async () => null,
  *fold(): Steps<null> {
    yield;
    return null;
  },
  settle: (): never => {
    throw new Error("this method asks for no survey");
  },
};
