/** Sections of a file of AWS: by name, each with its settings. What is set below a setting has both names: "s3.addressing_style". */
export type IniFile = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** `~/.aws/config` and `~/.aws/credentials`. Lines that say nothing are passed over, as AWS's own tools do. */
export function parseIniFile(text: string): IniFile {
  const sections = new Map<string, Map<string, string>>();
  let section: Map<string, string> | undefined;
  let above: string | undefined;
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*(?:[#;].*)?$/.test(line)) continue;
    const name = /^\s*\[\s*(.*?)\s*\]/.exec(line)?.[1];
    if (name !== undefined) {
      section = sections.get(name.replaceAll(/\s+/g, " ")) ?? new Map<string, string>();
      sections.set(name.replaceAll(/\s+/g, " "), section);
      above = undefined;
      continue;
    }
    const [, indent = "", key = "", value = ""] = /^(\s*)([^=]+?)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (key === "" || section === undefined) continue;
    const isBelow = indent !== "" && above !== undefined;
    section.set(isBelow ? `${above}.${key.toLowerCase()}` : key.toLowerCase(), value.replace(/\s[#;].*$/, ""));
    if (!isBelow) above = value === "" ? key.toLowerCase() : undefined;
  }
  return sections;
}
