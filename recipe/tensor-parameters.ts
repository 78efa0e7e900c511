import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { Parameters, ParameterValue } from "../merge/work/index.ts";
import { ConditionUse } from "./condition-use.ts";
import type { Findings } from "./findings.ts";
import { faulty, resolveParameter } from "./parameters.ts";
import type { Present, TensorPlace } from "./participant.ts";
import { isOfWholeModels, type LayerRange, type Recipe, settingsInOrder } from "./recipe.ts";

/** The parameters of one tensor after another; says which are missing or do not go together. */
export class TensorParameters {
  readonly conditions = new ConditionUse();
  readonly #recipe: Recipe;
  readonly #method: MethodDeclaration;
  readonly #findings: Findings;
  readonly #known = new Map<string, Parameters>();

  constructor(recipe: Recipe, method: MethodDeclaration, findings: Findings) {
    this.#recipe = recipe;
    this.#method = method;
    this.#findings = findings;
  }

  /** All parameters of one scope for one tensor; a parameter that is unset has no key. `complete`: none is missing or faulty. */
  resolve(
    scope: "global" | "tensor",
    name: string,
    filteredName: string,
    model: Present | undefined,
    { range, t }: TensorPlace,
  ): { values: Parameters; complete: boolean } {
    const levels = settingsInOrder(this.#recipe, range, model?.source);
    this.conditions.add(levels, scope, filteredName);
    const values: Record<string, ParameterValue> = {};
    let complete = true;
    for (const [parameter, declaration] of Object.entries(this.#method.parameters)) {
      if (declaration.scope !== scope) continue;
      const value = resolveParameter(parameter, declaration, levels, filteredName, t);
      if (value === faulty) complete = false;
      else if (value !== undefined) values[parameter] = value;
      else if (declaration.required) {
        complete = false;
        this.#reportUnset(parameter, name, model, range);
      }
    }
    return { values: this.#shared(values), complete };
  }

  /** One object for equal parameters: with hundreds of models they are most of a plan. */
  #shared(values: Parameters): Parameters {
    const key = JSON.stringify(values);
    const known = this.#known.get(key);
    if (known === undefined) this.#known.set(key, values);
    return known ?? values;
  }

  #reportUnset(parameter: string, name: string, model: Present | undefined, range: LayerRange): void {
    const whose = model === undefined ? "" : ` for "${model.input.label}"`;
    const message = `${this.#method.name} needs "${parameter}"${whose}, which is not set for ${name}`;
    const under = model === undefined ? "at the top of the recipe" : "of the model, or at the top of the recipe";
    const hint = `Add it to the parameters ${under}: ${this.#method.parameters[parameter]?.documentation ?? ""}`;
    const place =
      model?.source.place ?? (isOfWholeModels(this.#recipe, range) ? this.#recipe.methodPlace : range.place);
    const key = `${parameter} ${model === undefined ? "" : `${place.line}:${place.column}`}`;
    this.#findings.repeated("fault", key, "recipe/missing-parameter", place, message, hint);
  }

  check(name: string, { input, source }: Present, global: Parameters, tensor: Parameters): void {
    const wrong = this.#method.check?.(global, tensor);
    if (wrong === undefined) return;
    const { line, column } = source.place;
    const message = `"${input.label}", ${name}: ${wrong.replace(/\.$/, "")}`;
    const hint = `deltaworks methods ${this.#method.name} says what is allowed.`;
    this.#findings.repeated("fault", `${line}:${column}`, "recipe/conflicting-parameters", source.place, message, hint);
  }
}
