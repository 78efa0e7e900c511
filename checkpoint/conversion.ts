import { join, nameOf, type Place, parentOf } from "../storage/index.ts";
import { CheckpointError, quoted } from "./errors.ts";

const pickleName = /\.(?:bin|pt|pth|ckpt)$/;
const ggufName = /\.gguf$/i;

/** Whether a file of this name is a pickle that may hold weights. */
export function isPickleName(name: string): boolean {
  return pickleName.test(name);
}

export function isGgufName(name: string): boolean {
  return ggufName.test(name);
}

/** `files`: the pickles found, by their names in `folder`; they are not read. The hint is the command that converts them. */
export function pickleError(label: string, folder: Place, files: readonly string[]): CheckpointError {
  return new CheckpointError(
    "checkpoint/pickle",
    `${label}: ${some(files)}: pickle files can run any code when they are read, and are not supported`,
    {
      hint:
        `Convert to safetensors (needs torch and safetensors; runs no code that is in the files): ${pickleCommand(folder, files)}; ` +
        "or load the model with transformers and save_pretrained it to another folder, before version 4.35 with " +
        "safe_serialization=True.",
    },
  );
}

/** `files`: of one model, by their names in `folder`. The hint is the command that makes a folder of safetensors of them. */
export function ggufError(label: string, folder: Place, files: readonly string[]): CheckpointError {
  const [first = ""] = files;
  const out = folder.endsWith("/") ? `${folder}safetensors` : `${folder}-safetensors`;
  // transformers 5 keeps the codes where it can, and saves only what it no longer takes for quantised.
  const command =
    `python3 -c 'import sys, transformers as t; d, f, o = sys.argv[1:]; G = getattr(t, "GgufConfig", None); ` +
    `m = t.AutoModelForCausalLM.from_pretrained(d, gguf_file=f, **({"quantization_config": G(dequantize=True)} if G else {})); ` +
    `q = getattr(m, "hf_quantizer", None); q and q.remove_quantization_config(m); m.save_pretrained(o); ` +
    `t.AutoTokenizer.from_pretrained(d, gguf_file=f).save_pretrained(o)' ` +
    `${[folder, first, out].map(shellQuoted).join(" ")}`;
  const isSplit = /-\d+-of-\d+\.gguf$/i.test(first);
  const join = isSplit ? "First make one file of the parts, with llama.cpp's llama-gguf-split --merge. Then: " : "";
  return new CheckpointError(
    "checkpoint/gguf",
    `${label}: ${some(files)}: GGUF files hold models for llama.cpp, mostly as quantised codes, and are not supported`,
    {
      hint:
        `Take the model that ${files.length > 1 ? "they were" : "it was"} made from. Where there is none, transformers makes ` +
        `values of the codes (needs torch, gguf and accelerate): ${join}${command}`,
    },
  );
}

/** Of all files of a folder, one file of safetensors beside them; of a single file, one of its name. */
function pickleCommand(folder: Place, files: readonly string[]): string {
  const ofModel = files.filter((name) => /^pytorch_model.*\.bin$/.test(name));
  const isModel = ofModel.length > 0;
  const chosen = isModel ? ofModel : files.slice(0, 1);
  const target = isModel ? "model.safetensors" : (chosen[0] ?? "").replace(pickleName, ".safetensors");
  const patterns = isModel ? [join(folder, "pytorch_model*.bin")] : chosen.map((name) => join(folder, name));
  const words = [join(folder, target), ...patterns].map(isModel ? globQuoted : shellQuoted);
  return (
    `python3 -c 'import sys, torch; from safetensors.torch import save_file; ` +
    `s = [torch.load(f, map_location="cpu", weights_only=True) for f in sys.argv[2:]]; ` +
    `s = [next((p[k] for k in ("state_dict", "model_state_dict", "model", "module") if isinstance(p.get(k), dict)), p) for p in s]; ` +
    `t = {k: v.clone().contiguous() for p in s for k, v in p.items() if torch.is_tensor(v)}; ` +
    `t or sys.exit("no tensors found"); save_file(t, sys.argv[1], {"format": "pt"})' ${words.join(" ")}`
  );
}

/** Quoted but for the star in the file's name, which the shell spells out. */
function globQuoted(path: Place): string {
  const name = nameOf(path);
  return name.includes("*") ? `${shellQuoted(`${parentOf(path)}/`)}${name}` : shellQuoted(path);
}

export function shellQuoted(word: string): string {
  return /^[\w./+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The first few names, and how many more there are. */
export function some(names: readonly string[]): string {
  const shown = names.slice(0, 3).map(plainOrQuoted).join(", ");
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}

function plainOrQuoted(name: string): string {
  return /^[\x20-\x7e]+$/.test(name) ? name : quoted(name);
}
