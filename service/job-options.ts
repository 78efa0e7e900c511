import type { Json } from "../merge/work/index.ts";
import { isOptionValue, optionValues, type SubmittedOptions } from "../options/index.ts";
import { ServiceError } from "./errors.ts";

/** What shapes a merge, as the queue keeps it. */
export interface JobOptions extends SubmittedOptions {
  /** Of the call that submitted it: repeating the call makes no second job. */
  readonly requestId: string;
  /** For messages. */
  readonly recipeName: string;
}

export function jsonOfOptions(options: JobOptions): Json {
  return { ...options };
}

/** What a record of the queue holds. Another version may have written it. @throws ServiceError `service/option` */
export function optionsOfJson(value: Json): JobOptions {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw unfit("options", value);
  const fields = value as { readonly [name: string]: Json };
  const text = (name: string) => {
    const found = fields[name];
    if (typeof found === "string") return found;
    throw unfit(name, found);
  };
  const options = optionValues("submit", (name, declaration) => {
    const found = fields[name] === undefined ? declaration.inEarlierRecords : fields[name];
    if (isOptionValue(declaration, found)) return found;
    throw unfit(name, found);
  });
  return { ...options, requestId: text("requestId"), recipeName: text("recipeName") };
}

function unfit(name: string, value: Json | undefined): ServiceError {
  const found = value === undefined ? "missing" : JSON.stringify(value).slice(0, 60);
  return new ServiceError("service/option", `the job's record cannot be used: its ${name} is ${found}`, {
    hint: "Another version of deltaworks wrote it, or something else did: submit the recipe again.",
  });
}
