/**
 * Chat templates by the names that recipes use. Each writes the turns of `messages` in the form that models of that family were
 * trained on, and opens the assistant's turn where `add_generation_prompt` asks for it.
 */
const templates: Readonly<Record<string, string>> = {
  alpaca: [
    "{%- for message in messages -%}",
    "{%- if message['role'] == 'system' -%}{{ message['content'].strip() + '\\n\\n' }}",
    "{%- elif message['role'] == 'user' -%}{{ '### Instruction:\\n' + message['content'].strip() + '\\n\\n' }}",
    "{%- elif message['role'] == 'assistant' -%}{{ '### Response:\\n' + message['content'].strip() + eos_token + '\\n\\n' }}",
    "{%- endif -%}",
    "{%- endfor -%}",
    "{%- if add_generation_prompt -%}{{ '### Response:\\n' }}{%- endif -%}",
  ].join("\n"),
  chatml: [
    "{%- for message in messages -%}",
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}",
    "{%- endfor -%}",
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}",
  ].join("\n"),
  llama3: [
    "{{- bos_token -}}",
    "{%- for message in messages -%}",
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'].strip() + '<|eot_id|>' }}",
    "{%- endfor -%}",
    "{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif -%}",
  ].join("\n"),
  mistral: [
    "{{- bos_token -}}",
    "{%- set pending = namespace(system='') -%}",
    "{%- for message in messages -%}",
    "{%- if message['role'] == 'system' -%}{%- set pending.system = message['content'].strip() + '\\n\\n' -%}",
    "{%- elif message['role'] == 'user' -%}",
    "{{ '[INST] ' + pending.system + message['content'].strip() + ' [/INST]' }}{%- set pending.system = '' -%}",
    "{%- elif message['role'] == 'assistant' -%}{{ ' ' + message['content'].strip() + eos_token }}",
    "{%- endif -%}",
    "{%- endfor -%}",
  ].join("\n"),
  exaone: [
    "{%- for message in messages -%}",
    "{%- if loop.first and message['role'] != 'system' -%}{{ '[|system|][|endofturn|]\\n' }}{%- endif -%}",
    "{{ '[|' + message['role'] + '|]' + message['content'] }}",
    "{%- if message['role'] == 'user' -%}{{ '\\n' }}{%- else -%}{{ '[|endofturn|]\\n' }}{%- endif -%}",
    "{%- endfor -%}",
    "{%- if add_generation_prompt -%}{{ '[|assistant|]' }}{%- endif -%}",
  ].join("\n"),
};

export const chatTemplateNames: readonly string[] = Object.keys(templates);

/** Undefined for names that are not known. */
export function maybeChatTemplate(name: string): string | undefined {
  return Object.hasOwn(templates, name) ? templates[name] : undefined;
}

/** The template that most of the inputs have; of equally many, the one that comes first. */
export function commonestTemplate(ofInputs: readonly (string | undefined)[]): string | undefined {
  const counts = new Map<string, number>();
  for (const template of ofInputs) if (template !== undefined) counts.set(template, (counts.get(template) ?? 0) + 1);
  let best: string | undefined;
  for (const [template, count] of counts) if (best === undefined || count > (counts.get(best) ?? 0)) best = template;
  return best;
}

/** Tokens between bars, as most families write the marks of their turns. */
const markPattern = /<\|[\w ./-]{1,60}\|>/g;

/**
 * Tokens that a template writes and a vocabulary lacks: they would be cut into pieces that no model was trained on. `added`: what the
 * models of the merge find whole in a text. `isForeign`: no model came with the template, and its marks are not meant to be pieces.
 */
export function marksWithoutToken(
  template: string,
  added: Iterable<string>,
  ids: ReadonlyMap<string, number>,
  isForeign: boolean,
): readonly string[] {
  const named = [...added].filter((token) => /\S{3}/.test(token) && template.includes(token));
  const marks = isForeign ? (template.match(markPattern) ?? []) : [];
  return [...new Set([...named, ...marks])].filter((token) => !ids.has(token));
}
