import { type Command, Option } from "commander";
import { checkEngineNames, engineNames } from "../merge/engines/index.ts";
import { bytesText, type OptionCommand, type OptionDeclaration, optionsOf, parseOption } from "../options/index.ts";

/** The options of a merge that a command takes, as the table declares them; parsed, under their names in code. */
export function withMergeOptions(command: Command, name: OptionCommand): Command {
  for (const [key, declaration] of optionsOf(name)) command.addOption(new MergeOption(key, declaration, name));
  return command;
}

class MergeOption extends Option {
  readonly #key: string;

  constructor(key: string, declaration: OptionDeclaration, command: OptionCommand) {
    const { flag, value, type } = declaration;
    const about = key === "engine" ? `${declaration.about} (${engineNames.join(", ")})` : declaration.about;
    super(value === undefined ? flag : `${flag} <${value}>`, about);
    this.#key = key;
    if (type === "texts") this.argParser((text: string, before: readonly string[]) => [...before, text]);
    else if (type !== "flag") this.argParser((text: string) => parsed(key, declaration, text));
    const otherwise = command === "submit" && type !== "flag" ? "the coordinator's" : declaration.otherwise;
    if (otherwise !== undefined) this.description = `${about} (default: ${otherwise})`;
    else if (declaration.default !== undefined) this.default(declaration.default, defaultText(declaration));
  }

  override attributeName(): string {
    return this.#key;
  }
}

/** @throws OptionError, EngineError: the errors that whoever else asks for a merge is answered with */
function parsed(key: string, declaration: OptionDeclaration, text: string): string | number {
  if (key === "engine") checkEngineNames(text);
  return parseOption(declaration, text);
}

function defaultText({ type, default: value }: OptionDeclaration): string {
  if (type === "bytes") return bytesText(Number(value));
  return type === "texts" ? "none" : String(value);
}
