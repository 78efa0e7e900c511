import { describe, expect, test } from "vitest";
import { maybeNumber, maybePattern, writtenName } from "../../recipe/layer-facts/module-pattern.ts";

const matches = (pattern: string, name: string) => maybePattern(writtenName(pattern))?.matches(name);

describe("names of modules in lists of quantisers", () => {
  test.each([
    ["model.layers.1.mlp", "literal"],
    ["model.layers.1*", "glob"],
    ["model.layers.[0-3].mlp", "glob"],
    ["re:model.layers.1", "regex"],
    [".*layers\\.1\\..*", "regex"],
    ["-:.*\\.19\\..*gate.*", "regex"],
  ])("%s is a %s", (name, kind) => {
    expect(writtenName(name).kind).toBe(kind);
  });

  // As re.match and fnmatch.fnmatch of Python have it.
  test.each([
    ["re:.*layers\\.61\\..*", "model.layers.61.mlp", true],
    ["re:.*layers\\.61\\..*", "model.layers.610.mlp", false],
    ["re:layers\\.61", "model.layers.61", false],
    ["re:model.layers.6", "model.layers.61.mlp", true],
    ["re:model\\.layers\\.(0|1[0-2])\\.", "model.layers.11.mlp", true],
    ["re:model\\.layers\\.(0|1[0-2])\\.", "model.layers.13.mlp", false],
    ["re:.*(?:gate|up)_proj$", "model.layers.0.mlp.up_proj", true],
    ["re:.*(?:gate|up)_proj$", "model.layers.0.mlp.up_proj.x", false],
    ["re:^lm_head", "lm_head", true],
    ["re:.*self_attn(_x)?\\.q", "a.self_attn.q_proj", true],
    ["re:.*\\.\\d+\\.mlp", "model.layers.12.mlp", true],
    ["re:model\\.layers\\.1(?!\\d).*", "model.layers.1.mlp", true],
    ["re:model\\.layers\\.1(?!\\d).*", "model.layers.12.mlp", false],
    ["re:[^.]*\\.norm", "model.norm", true],
    ["+:.*\\.18\\..*gate.*", "model.layers.18.mlp.gate_proj", true],
    ["model.layers.61*", "model.layers.61.self_attn", true],
    ["model.layers.61*", "language_model.model.layers.61.self_attn", false],
    ["*.layers.?.mlp", "model.layers.3.mlp", true],
    ["*.layers.[!3].mlp", "model.layers.3.mlp", false],
    ["*lm_head", "model.lm_head.x", false],
  ])("%s of %s: %s", (pattern, name, expected) => {
    expect(matches(pattern, name)).toBe(expected);
  });

  test.each(["re:(a+)+$", "re:(?i)lm_head", "re:a{2}", "re:(?P<x>a)", "re:\\bmlp", "re:(a"])(
    "%s is not understood, rather than guessed at",
    (pattern) => {
      expect(maybePattern(writtenName(pattern))).toBeUndefined();
    },
  );

  test("take no longer for a name that is made to be looked at for ever", () => {
    expect(matches(`re:${".*a".repeat(40)}$`, `${"a".repeat(5000)}b`)).toBe(false);
  });

  test.each([
    ["re:.*layers\\.61\\..*", 7, 100, ["re:.*layers\\.7\\..*"]],
    ["re:.*layers\\.(0|1|2)\\..*", 7, 100, ["re:.*layers\\.7\\..*"]],
    ["re:model.layers.[0-9].mlp", 12, 100, ["re:model.layers.12.mlp"]],
    ["re:model.layers.61.*", 7, 100, ["re:model.layers.7(?!\\d).*"]],
    ["re:model.layers.61.*", 12, 100, ["re:model.layers.12.*"]],
    ["re:model\\.layers\\.6(?!\\d)", 12, 100, ["re:model\\.layers\\.12"]],
    ["-:.*\\.19\\..*gate.*", 7, 100, ["-:.*\\.7\\..*gate.*"]],
    ["model.layers.61*", 12, 100, ["model.layers.12*"]],
    ["model.layers.61*", 7, 100, ["model.layers.7", "model.layers.7.*"]],
    ["model.layers.61*gate", 7, 100, ["model.layers.7.*gate"]],
    ["model.layers.61.self_attn*", 7, 100, ["model.layers.7.self_attn*"]],
  ])("%s of layer %i of %i is %j", (pattern, layer, count, expected) => {
    expect(maybeNumber(writtenName(pattern))?.renumbered(layer, count)).toEqual(expected);
  });

  test.each([
    ["re:.*layers\\.61\\..*", "layers"],
    ["*.blocks.3*", "blocks"],
    ["re:.*\\.61\\..*", undefined],
    ["model.layers.*.experts.3.w1", "experts"],
  ])("%s counts %s", (pattern, module) => {
    expect(maybeNumber(writtenName(pattern))?.module).toBe(module);
  });

  test.each(["re:.*norm", "*lm_head*", "re:.*layer_norm1", "re:.*mlp\\.(gate|up)_proj"])(
    "%s has no number",
    (pattern) => {
      expect(maybeNumber(writtenName(pattern))).toBeUndefined();
    },
  );
});
