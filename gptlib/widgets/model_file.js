// Reads a `.gpt.safetensors` file, as gptlib's `export_model` writes it, and believes nothing.
//
// Eight bytes say how long the header is; the header is JSON and says where in the rest the numbers
// of each tensor lie. Whatever is wrong with a file ends in an Error whose message is for people.
import { MODERN_FILE } from "./modern_file.js";

export const MOST_PARAMETERS = 200e6; // 0.8 GB as float32
const MOST_HEADER = 8e6; // bytes; that of GPT-2 has 60,000
const BYTES = { F32: 4, F16: 2, I8: 1 };
// What a kind of file is marked with, and what its configuration and its weights have to be.
export const GPT_FILE = { format: "gptlib model 1", check: checkConfig, shapes: shapesOf };
const MODELS = [GPT_FILE, MODERN_FILE];

// A file of bytes in memory -> { config, weights, tokenizer, kind }: `new GPT(config, weights)` runs it.
export function readModel(view, kinds = MODELS) {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const header = readHeader(bytes, bytes.length, kinds);
  return { ...header, weights: readWeights(header, bytes.subarray(header.start)) };
}

// The same for a file that the reader chose. A file that cannot be one is not read to its end.
export async function openModel(file) {
  const first = new Uint8Array(await file.slice(0, 8).arrayBuffer());
  const length = headerLength(first, file.size);
  const head = new Uint8Array(await file.slice(0, 8 + length).arrayBuffer());
  const header = readHeader(head, file.size);
  const body = new Uint8Array(await file.slice(header.start).arrayBuffer());
  if (body.length !== file.size - header.start) throw new Error("The file changed while it was read.");
  return { ...header, weights: readWeights(header, body) };
}

function headerLength(bytes, size) {
  if (size < 16) throw new Error("The file is empty, or nearly so.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const length = view.getUint32(0, true) + 2 ** 32 * view.getUint32(4, true);
  if (length < 2 || length > MOST_HEADER) throw new Error("This is no safetensors file.");
  if (8 + length > size) throw new Error("The file is cut short, or no safetensors file.");
  return length;
}

// What the header says, once all of it fits together: { config, tokenizer, places, start, kind }.
// The file is of that one of `kinds`, or of the only one, whose mark it bears.
export function readHeader(bytes, size, kinds = MODELS) {
  const length = headerLength(bytes, size);
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + length)));
  } catch {
    throw new Error("This is no safetensors file.");
  }
  const { __metadata__: told, ...places } = header ?? {};
  const kind = [kinds].flat().find(({ format }) => format === told?.format);
  if (!kind) {
    throw new Error("A safetensors file, but not one that gptlib's export_model wrote.");
  }
  const config = kind.check(readJson(told.config, "configuration"));
  const tokenizer = readJson(told.tokenizer, "tokenizer");
  const shapes = kind.shapes(config);
  const count = Object.values(shapes).reduce((sum, shape) => sum + shape.reduce((a, b) => a * b), 0);
  if (count > MOST_PARAMETERS) {
    throw new Error(`It has ${Math.round(count / 1e6).toLocaleString("en-GB")} million parameters; a page can run up to ${MOST_PARAMETERS / 1e6} million.`);
  }
  checkPlaces(places, shapes, size - 8 - length);
  return { config, tokenizer, places, start: 8 + length, kind };
}

function readJson(text, what) {
  try {
    const value = JSON.parse(text);
    if (value && typeof value === "object") return value;
  } catch { /* said below */ }
  throw new Error(`Its ${what} cannot be read.`);
}

function checkConfig(config) {
  for (const name of ["vocab_size", "context_length", "n_layer", "n_head", "n_embd"]) {
    if (!Number.isSafeInteger(config[name]) || config[name] < 1) {
      throw new Error(`Its ${name} is ${JSON.stringify(config[name])}, and should be a whole number above 0.`);
    }
  }
  if (config.n_embd % config.n_head) throw new Error("Its n_embd cannot be divided by its n_head.");
  if (!["pre", "post"].includes(config.norm)) throw new Error(`Its norm is ${JSON.stringify(config.norm)}.`);
  if (!["tanh", "none"].includes(config.gelu)) throw new Error(`Its gelu is ${JSON.stringify(config.gelu)}.`);
  if (config.n_layer > 1000) throw new Error("It has more than 1,000 layers.");
  return config;
}

// The names and shapes of a GPT's weights, as PyTorch's state_dict has them, a tied one once.
export function shapesOf(config) {
  const { vocab_size, context_length, n_layer, n_embd: C, bias } = config;
  const qkv_bias = config.qkv_bias ?? bias;
  const shapes = { "token_embedding.weight": [vocab_size, C], "position_embedding.weight": [context_length, C] };
  const part = (name, rows, columns, hasBias) => {
    shapes[`${name}.weight`] = columns ? [rows, columns] : [rows];
    if (hasBias) shapes[`${name}.bias`] = [rows];
  };
  for (let i = 0; i < n_layer; i++) {
    part(`blocks.${i}.attention.qkv`, 3 * C, C, qkv_bias);
    part(`blocks.${i}.attention.project`, C, C, bias);
    part(`blocks.${i}.feed_forward.expand`, 4 * C, C, bias);
    part(`blocks.${i}.feed_forward.project`, C, 4 * C, bias);
    part(`blocks.${i}.norm_1`, C, 0, bias);
    part(`blocks.${i}.norm_2`, C, 0, bias);
  }
  if (config.norm === "pre") part("final_norm", C, 0, bias);
  if (!config.tied) part("head", vocab_size, C, false);
  return shapes;
}

// Each tensor is there, has its shape, and lies within the file.
function checkPlaces(places, shapes, size) {
  let end = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    end = Math.max(end, checkPlace(name, places[name], shape, Object.keys(BYTES)));
    if (places[name].dtype === "I8") {
      end = Math.max(end, checkPlace(`${name}.scale`, places[`${name}.scale`], shape.slice(0, 1), ["F32"]));
    }
  }
  const foreign = Object.keys(places).find((name) => !(name in shapes) && !(name.replace(/\.scale$/, "") in shapes));
  if (foreign) throw new Error(`Its weight ${foreign.slice(0, 60)} does not belong to the model that it describes.`);
  if (end > size) throw new Error("The file is cut short: the numbers of some weights are missing.");
  if (end < size) throw new Error("The file is longer than what it describes.");
}

function checkPlace(name, place, shape, types) {
  if (!place) throw new Error(`Its weight ${name} is missing.`);
  const { dtype, data_offsets: [begin, end] = [] } = place;
  if (!types.includes(dtype)) throw new Error(`Its weight ${name} is kept as ${String(dtype).slice(0, 20)}, which the page cannot read.`);
  if (JSON.stringify(place.shape) !== JSON.stringify(shape)) {
    throw new Error(`Its weight ${name} has the shape ${JSON.stringify(place.shape)?.slice(0, 60)}, and should have ${JSON.stringify(shape)}.`);
  }
  const wanted = BYTES[dtype] * shape.reduce((a, b) => a * b);
  if (!Number.isSafeInteger(begin) || begin < 0 || end - begin !== wanted) {
    throw new Error(`The place of its weight ${name} makes no sense.`);
  }
  return end;
}

function readWeights({ config, places, kind }, body) {
  const read = (name) => {
    const { dtype, data_offsets: [begin, end] } = places[name];
    const bytes = body.slice(begin, end); // a copy, so that it begins where a number may begin
    if (dtype === "F32") return new Float32Array(bytes.buffer);
    if (dtype === "F16") return fromHalf(new Uint16Array(bytes.buffer));
    const whole = new Int8Array(bytes.buffer);
    const scale = read(`${name}.scale`);
    const columns = whole.length / scale.length;
    return Float32Array.from(whole, (v, i) => v * scale[Math.floor(i / columns)]);
  };
  const weights = {};
  for (const name of Object.keys(kind.shapes(config))) {
    weights[name] = read(name);
    if (!weights[name].every(Number.isFinite)) {
      throw new Error(`Its weight ${name} holds numbers that are not finite: its training blew up.`);
    }
  }
  return weights;
}

// 16 bits to 32: a sign, five bits of exponent, ten of fraction. All 65,536 are worked out once.
let halves;
export function fromHalf(bits) {
  halves ??= Float32Array.from({ length: 65536 }, (_, h) => {
    const sign = h & 0x8000 ? -1 : 1;
    const exponent = (h >> 10) & 31;
    const fraction = h & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
  });
  return Float32Array.from(bits, (h) => halves[h]);
}
