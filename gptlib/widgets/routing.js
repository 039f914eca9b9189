// Who asked which expert, as a run of the model in Python has it: read, counted, said.

// The routes of all blocks. `of(layer, t, limited)` is what token t asked there: [{ expert, weight,
// answered }], the likeliest first; limited: in the run where experts had little room.
export function routesOf({ chosen, weights, answered, n_layer, n_active, n_token }) {
  const place = (layer, t, k, limited) => (((limited ? n_layer : 0) + layer) * n_token + t) * n_active + k;
  return {
    of(layer, t, limited = false) {
      return Array.from({ length: n_active }, (_, k) => {
        const i = place(layer, t, k, limited);
        return {
          expert: chosen.getUint16(2 * i, true), weight: weights.getFloat32(4 * i, true),
          answered: answered.getUint8(i) > 0,
        };
      });
    },
  };
}

// Of each expert of a block, how many tokens ask it and how many of them find no room.
export function loadOf(routes, { layer, n_token, n_expert, limited = false }) {
  const load = Array.from({ length: n_expert }, () => ({ asked: 0, dropped: 0 }));
  for (let t = 0; t < n_token; t++) {
    for (const { expert, answered } of routes.of(layer, t, limited)) {
      load[expert].asked += 1;
      load[expert].dropped += answered ? 0 : 1;
    }
  }
  return load;
}

// The expert that is asked most.
export const busiest = (load) => load.reduce((best, one, e) => (one.asked > load[best].asked ? e : best), 0);

// Counts as shares of their sum.
export function sharesOf(counts) {
  const all = counts.reduce((sum, n) => sum + n, 0);
  return counts.map((n) => (all ? n / all : 0));
}

// For the tests: everything that a widget's bytes hold, as lists.
export function unpackedRoutes(sizes, chosen, weights, answered) {
  const view = (numbers) => new DataView(Uint8Array.from(numbers).buffer);
  const routes = routesOf({ ...sizes, chosen: view(chosen), weights: view(weights), answered: view(answered) });
  const layers = Array.from({ length: sizes.n_layer }, (_, layer) => layer);
  const tokens = Array.from({ length: sizes.n_token }, (_, t) => t);
  return (sizes.limited ? [false, true] : [false]).map((limited) => layers.map((layer) => ({
    routes: tokens.map((t) => routes.of(layer, t, limited)),
    load: loadOf(routes, { ...sizes, layer, limited }),
  })));
}
