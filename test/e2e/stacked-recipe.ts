/** 24 layers made of the three of the small models: 220 tensors, one slice each with STACKED_SIZES. */
export function stackedRecipe(head: string): string {
  const sources = `  - sources:
      - {model: gpt2-base, layer_range: [0, 3], parameters: {weight: 0.3}}
      - {model: gpt2-python, layer_range: [0, 3], parameters: {weight: 0.5}}
      - {model: gpt2-prose, layer_range: [0, 3], parameters: {weight: 0.4}}
`;
  return `${head}\ndtype: float32\nslices:\n${sources.repeat(8)}`;
}

export const STACKED_SIZES = ["--slice-size", "1KiB", "--shard-size", "300KB"] as const;
