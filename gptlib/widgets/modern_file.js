// What a file with a modern model holds: its mark, its configuration, the shapes of its weights.

const MODERN_SIZES = ["vocab_size", "context_length", "n_layer", "n_head", "n_kv_head", "n_embd", "head_size", "hidden"];

function checkModern(config) {
  for (const name of MODERN_SIZES) {
    if (!Number.isSafeInteger(config[name]) || config[name] < 1) {
      throw new Error(`Its ${name} is ${JSON.stringify(config[name])}, and should be a whole number above 0.`);
    }
  }
  if (config.n_head % config.n_kv_head) throw new Error("Its n_head cannot be divided by its n_kv_head.");
  if (config.head_size % 2) throw new Error("Its head_size is odd.");
  if (!(config.rope_base > 1)) throw new Error(`Its rope_base is ${JSON.stringify(config.rope_base)}.`);
  if (!["pre", "sandwich"].includes(config.norm)) throw new Error(`Its norm is ${JSON.stringify(config.norm)}.`);
  if (!["swiglu", "geglu"].includes(config.gating)) throw new Error(`Its gating is ${JSON.stringify(config.gating)}, which the page does not know.`);
  if (config.n_expert !== 1 || config.sinks) throw new Error("It has experts or sinks, which the page does not know.");
  for (const name of ["window", "full_every", "score_cap", "logit_cap"]) {
    if (config[name] != null && !(config[name] > 0)) throw new Error(`Its ${name} is ${JSON.stringify(config[name])}.`);
  }
  if (config.n_layer > 1000) throw new Error("It has more than 1,000 layers.");
  return config;
}

// The names and shapes of its weights, as PyTorch's state_dict has them, a tied one once.
function modernShapes(config) {
  const { vocab_size, n_layer, n_head, n_kv_head, n_embd: C, head_size, hidden, bias } = config;
  const shapes = { "token_embedding.weight": [vocab_size, C], "final_norm.weight": [C] };
  const part = (name, rows, columns) => {
    shapes[`${name}.weight`] = [rows, columns];
    if (bias) shapes[`${name}.bias`] = [rows];
  };
  for (let i = 0; i < n_layer; i++) {
    part(`blocks.${i}.attention.qkv`, (n_head + 2 * n_kv_head) * head_size, C);
    part(`blocks.${i}.attention.project`, C, n_head * head_size);
    for (const name of ["gate", "expand"]) part(`blocks.${i}.feed_forward.${name}`, hidden, C);
    part(`blocks.${i}.feed_forward.project`, C, hidden);
    if (config.qk_norm) for (const name of ["norm_q", "norm_k"]) shapes[`blocks.${i}.attention.${name}.weight`] = [head_size];
    const norms = config.norm === "sandwich" ? ["norm_1", "norm_2", "after_1", "after_2"] : ["norm_1", "norm_2"];
    for (const name of norms) shapes[`blocks.${i}.${name}.weight`] = [C];
  }
  if (!config.tied) shapes["head.weight"] = [vocab_size, C];
  return shapes;
}

export const MODERN_FILE = { format: "gptlib modern model 1", check: checkModern, shapes: modernShapes };
