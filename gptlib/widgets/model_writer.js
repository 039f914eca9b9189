// Writes the file that model_file.js and Python's import_model read: `.gpt.safetensors`, in 32 bits.

// config: all fields of GPTConfig; tokenizer: the state of a saved one, as JSON; weights by name and
// `shapes`, as shapesOf has them -> the bytes of the file.
export function writeModel(config, weights, shapes, tokenizer) {
  const header = { __metadata__: { format: "gptlib model 1", config: JSON.stringify(config), tokenizer } };
  let end = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, end += 4 * weights[name].length] };
  }
  const words = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(words.length / 8) * 8; // the numbers begin where a number may begin
  const bytes = new Uint8Array(8 + length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.fill(32, 8, 8 + length); // spaces
  bytes.set(words, 8);
  for (const name of Object.keys(shapes)) {
    const { buffer, byteOffset, byteLength } = weights[name];
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), 8 + length + header[name].data_offsets[0]);
  }
  return bytes;
}
