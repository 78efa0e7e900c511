import { distance } from "fastest-levenshtein";
import { type MethodDeclaration, methodDeclarations, type ParameterDeclaration } from "../../merge/methods/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { printFailure } from "../print-failure.ts";
import { textTable } from "./text-table.ts";

export interface MethodsOptions {
  readonly json: boolean;
}

/** `deltaworks methods [NAME]`: the merge methods, or the documentation of one. */
export async function methodsCommand([name]: readonly string[], { json }: MethodsOptions, io: Io): Promise<number> {
  const methods = methodDeclarations();
  if (name === undefined) {
    const list = [...methods.values()];
    io.stdout(json ? list.map(jsonLine).join("") : textTable(list.map((method) => [method.name, method.title])));
    return exitCodes.done;
  }
  const method = methods.get(name);
  if (method === undefined) {
    const nearest = [...methods.keys()].sort((a, b) => distance(a, name) - distance(b, name))[0];
    const message = `there is no method ${JSON.stringify(name)}, did you mean ${nearest}?`;
    printFailure(io, { code: "cli/unknown-method", message, hint: "`deltaworks methods` lists them all." }, json);
    return exitCodes.usage;
  }
  io.stdout(json ? jsonLine(method) : methodText(method));
  return exitCodes.done;
}

/** The declaration alone: its functions are not JSON, and infinity is no number there. */
function jsonLine(method: MethodDeclaration): string {
  const { name, title, paper, documentation, formula, deviations, base, models, prunes, parameters, refused } = method;
  const limits = { min: models.min, ...(Number.isFinite(models.max) ? { max: models.max } : {}) };
  const shown = {
    name,
    title,
    paper,
    documentation,
    formula,
    deviations,
    base,
    models: limits,
    prunes,
    parameters,
    refused,
  };
  return `${JSON.stringify(shown)}\n`;
}

function methodText(method: MethodDeclaration): string {
  const { name, title, paper, documentation, formula, deviations, refused } = method;
  const parameters = Object.entries(method.parameters);
  const sections = [
    `${name}: ${title}\n${paper === undefined ? "" : `${paper}\n`}`,
    `${documentation}\n`,
    `${formula}\n`,
    textTable([
      ["base", baseText(method)],
      ["models", modelsText(method)],
    ]),
    parameters.length === 0 ? "No parameters.\n" : `Parameters\n${textTable(parameters.map(parameterRow))}`,
  ];
  const refusals = Object.entries(refused);
  if (refusals.length > 0) sections.push(`Refused\n${textTable(refusals.map(([key, why]) => [`  ${key}`, why]))}`);
  if (deviations.length > 0) sections.push(`Elsewhere\n${deviations.map((deviation) => `  ${deviation}\n`).join("")}`);
  return sections.join("\n");
}

function parameterRow([name, parameter]: [string, ParameterDeclaration]): readonly string[] {
  const scope = parameter.scope === "tensor" ? "per model and tensor" : "global";
  return [`  ${name}`, valueText(parameter), scope, parameter.documentation];
}

function valueText({ type, required, default: preset, range, words }: ParameterDeclaration): string {
  const kind = words === undefined ? type : words.join(" | ");
  const limits = range === undefined ? "" : ` ${range.min ?? "-inf"} to ${range.max ?? "inf"}`;
  const rule = required === true ? "required" : preset === undefined ? "unset" : `= ${preset}`;
  return `${kind}${limits}, ${rule}`;
}

function baseText({ base, needsBase, appendsBase }: MethodDeclaration): string {
  if (base === "apart") return "required; deltas are taken from it";
  if (base === "optional") return "optional; deltas are taken from it if it is there";
  const rule = needsBase ? "required; an input like the others" : "none needed; if listed, an input like the others";
  return appendsBase ? `${rule}, and added to the list if it is missing there` : rule;
}

function modelsText({ models, base }: MethodDeclaration): string {
  const { min, max } = models;
  const range = min === max ? `${min}` : Number.isFinite(max) ? `${min} to ${max}` : `${min} or more`;
  return base === "listed" ? range : `${range}, besides the base`;
}
