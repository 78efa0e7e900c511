import { CodedError, type Explanations } from "../errors/index.ts";

/** Every code of the room. docs/errors.md is made of this. */
export const serviceCodes = {
  "service/root": {
    means: "A root or a place, or something below one, that is not there, cannot be meant, or is only read.",
    advice: "The message names the roots and places that the coordinator has.",
  },
  "service/outside-roots": {
    means:
      "A model lies below none of the coordinator's roots and places, or an output leads out of its root through a link.",
    advice: "Give its folder with `--root`, its bucket with `--place`; links may not lead out of roots.",
  },
  "service/unknown-job": {
    means: "There is no job of that name or id, or it ended so long ago that it was forgotten (`--keep-ended`).",
    advice: "`deltaworks list --all` shows the jobs.",
  },
  "service/output-taken": {
    means: "Another job that has not ended, through whichever coordinator, writes to that output, around it or in it.",
    advice: "Choose another output, or wait.",
  },
  "service/option": {
    means:
      "An option of a job that makes no sense, or that its record lacks; options of a coordinator that exclude each other.",
    advice: "The message says which, the hint what would do.",
  },
  "service/planning-limit": {
    means: "Planning a recipe took more time or memory than the coordinator allows, or the coordinator was ending.",
    advice:
      "Merge fewer models at once, or start the coordinator with a larger `--planning-time` or `--planning-memory`.",
  },
  "service/paused": {
    means: "Somebody paused the job.",
    advice: "`deltaworks resume JOB`",
  },
} satisfies Explanations<"service">;

export type ServiceCode = keyof typeof serviceCodes;

/** What the long-lived coordinator refuses. */
export class ServiceError extends CodedError<ServiceCode> {}
