// WebAssembly, written instruction by instruction: what simd.js and product.js say it with.

export const I32 = 0x7f, V128 = 0x7b; // a whole number; several numbers side by side
export const leb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >> 7)]); // LEB128
export const get = (local) => [0x20, local], set = (local) => [0x21, local], tee = (local) => [0x22, local];
export const ADD_I32 = [0x6a];

// Do `body` again and again while local n, less by one each time, is not 0.
export const loop = (n, ...body) => [0x03, 0x40, ...body.flat(), ...get(n), 0x41, 1, 0x6b, ...tee(n), 0x0d, 0, 0x0b];

// A function of so many whole numbers that works in a memory. An Error where there is no such thing.
export function assemble(memory, parameters, locals, body) {
  const section = (id, ...bytes) => [id, ...leb(bytes.flat().length), ...bytes.flat()];
  const code = [...locals, ...body, 0x0b];
  const bytes = Uint8Array.from([
    0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, 1, 0x60, parameters, Array(parameters).fill(I32), 0), // its type
    ...section(2, 1, 1, 0x6d, 1, 0x6d, 2, 0, 1), // imports the memory "m" "m"
    ...section(3, 1, 0),
    ...section(7, 1, 1, 0x66, 0, 0), // exports it as "f"
    ...section(10, 1, leb(code.length), code),
  ]);
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), { m: { m: memory } }).exports.f;
}
