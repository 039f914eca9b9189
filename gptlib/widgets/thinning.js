// A long curve that grows while it is drawn.

// Means of a series so far, those of long ago fading: what lies under the noise of single batches.
export class Smooth {
  constructor(fade = 0.9) {
    Object.assign(this, { fade, steps: [], values: [], sum: 0, weight: 0 });
  }

  add(step, value) {
    this.sum = this.fade * this.sum + value;
    this.weight = this.fade * this.weight + 1; // so that the first value counts whole
    this.steps.push(step);
    this.values.push(this.sum / this.weight);
  }
}

// At most about `most` of the points, evenly, the first and the last among them.
export function thinned(xs, ys, most) {
  const every = Math.max(1, Math.ceil(xs.length / most));
  const kept = (values) => values.filter((_, i) => i % every === 0 || i === values.length - 1);
  return [kept(xs), kept(ys)];
}
