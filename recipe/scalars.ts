/**
 * Plain scalars as PyYAML 6 resolves them (YAML 1.1 with its own departures: `y` and `n` are text, a number in
 * exponent form needs a point and a signed exponent, `0o17` is text and `017` octal).
 */
export type ScalarValue = string | number | boolean | null;

const trues = /^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$/;
const falses = /^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$/;
const nulls = /^(?:~|null|Null|NULL|)$/;
const integers = [
  { form: /^[-+]?0b[01_]+$/, radix: 2, prefix: 2 },
  { form: /^[-+]?0x[0-9a-fA-F_]+$/, radix: 16, prefix: 2 },
  { form: /^[-+]?0[0-7_]+$/, radix: 8, prefix: 1 },
  { form: /^[-+]?(?:0|[1-9][0-9_]*)$/, radix: 10, prefix: 0 },
] as const;
const float = /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?)$/;
const sexagesimal = /^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$/;
const infinity = /^([-+]?)\.(?:inf|Inf|INF)$/;
const notANumber = /^\.(?:nan|NaN|NAN)$/;

/** What a scalar without quotes and tag means. */
export function scalarFromPlain(text: string): ScalarValue {
  if (nulls.test(text)) return null;
  if (trues.test(text)) return true;
  if (falses.test(text)) return false;
  return maybeYamlNumber(text) ?? text;
}

function maybeYamlNumber(text: string): number | undefined {
  const sign = text.startsWith("-") ? -1 : 1;
  const unsigned = text.replace(/^[-+]/, "").replaceAll("_", "");
  for (const { form, radix, prefix } of integers) {
    if (!form.test(text)) continue;
    const digits = unsigned.slice(prefix);
    // "0_" is a zero to PyYAML; "0x_" has no digits, and there it fails.
    if (digits === "") return radix === 8 ? 0 : undefined;
    return sign * Number.parseInt(digits, radix) + 0; // + 0: integers know no negative zero
  }
  if (float.test(text)) return sign * Number(unsigned);
  // A leading zero makes no sexagesimal integer ("01:30" is text), but may start a sexagesimal with a point.
  if (sexagesimal.test(text) && (text.includes(".") || /^[-+]?[1-9]/.test(text))) {
    return sign * unsigned.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  }
  const infinite = infinity.exec(text);
  if (infinite !== null) return sign * Number.POSITIVE_INFINITY;
  return notANumber.test(text) ? Number.NaN : undefined;
}

/** Text that is a number, for places where a number is expected: `1e-5`, `"0.5"`. */
export function maybeNumberFromText(text: string): number | undefined {
  const trimmed = text.trim();
  if (
    !/^[-+]?(?:[0-9]+(?:_[0-9]+)*\.?(?:[0-9]+(?:_[0-9]+)*)?|\.[0-9]+(?:_[0-9]+)*)(?:[eE][-+]?[0-9]+)?$/.test(trimmed)
  ) {
    return maybeYamlNumber(trimmed);
  }
  return Number(trimmed.replaceAll("_", ""));
}
